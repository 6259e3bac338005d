"""The cases: each measures one thing, in Python and, where a contestant is called from there, in JavaScript."""
