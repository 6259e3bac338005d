"""A package for each place that can keep messages; they share ``base``, a handle with hooks, and ``notifier``."""
