"""One package for each kind of storage; they share ``base``, a handle with hooks, and ``notifier``."""
