"""Mailboxes in this process's memory: gone when it ends. All of them are one database, shared by all threads.

From the outside in: ``mailbox`` is the handle, and the database that it is on; what its verbs do are the rules of
``pymailbox.core``; ``store`` keeps what they give it.
"""

from .mailbox import MemoryMailbox

__all__ = ["MemoryMailbox"]
