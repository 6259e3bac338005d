"""Mailboxes in this process's memory: gone when it ends. All of them are one database, shared by all threads.

From the outside in: ``mailbox`` has the handle and its database; its verbs follow the rules of ``pymailbox.core``;
``store`` keeps their data.
"""

from .mailbox import MemoryMailbox

__all__ = ["MemoryMailbox"]
