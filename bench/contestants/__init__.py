"""The contestants: modules that are called from Python, and beside them those that are called from JavaScript."""
