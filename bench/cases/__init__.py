"""The cases: each measures one thing, in Python and, where a competitor is called from there, in JavaScript."""
