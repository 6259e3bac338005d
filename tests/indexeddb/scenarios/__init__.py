"""Scenarios that run inside Pyodide, in any browser: plain async functions named ``check_…``, without pytest."""
