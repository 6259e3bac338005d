"""The benchmark: pymailbox beside what else a user could pick. `docs/performance.md` says what it shows."""
