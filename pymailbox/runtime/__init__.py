"""What depends on where Python runs: turns of the event loop, and tasks that a browser can suspend."""
