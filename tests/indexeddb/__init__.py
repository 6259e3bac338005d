"""What concerns only IndexedDB, in real browsers: failing storage, databases that others change, pages that are
left."""
