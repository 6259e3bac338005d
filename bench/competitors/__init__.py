"""The competitors: modules that are called from Python, and those that are called from JavaScript."""
