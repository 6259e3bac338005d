"""Kills browsers, tabs, workers and processes in the middle of their work, and looks at what is left."""
