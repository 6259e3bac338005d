"""The command line: mailboxes in SQLite files, looked at and worked on; see docs/command-line.md."""

from .main import main

__all__ = ["main"]
