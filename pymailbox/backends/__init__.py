"""One module or package for each place that can keep messages."""
