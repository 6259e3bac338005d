"""Mailboxes in a browser's IndexedDB, through Pyodide."""

from .mailbox import IndexedDbMailbox

__all__ = ["IndexedDbMailbox"]
