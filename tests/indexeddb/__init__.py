"""What is IndexedDB's own, in real browsers: storage that fails, databases that others touch, pages that are left."""
