"""The benchmark: pymailbox beside its alternatives. `docs/performance.md` explains the results."""
