"""Mailboxes in this process's memory: gone when it ends. All of them are one database, shared by all threads.

From the outside in: ``mailbox`` is the handle, and the database that it is on; ``queue`` is what the verbs do to one
mailbox; ``line`` keeps messages in dequeue order.
"""

from .mailbox import MemoryMailbox

__all__ = ["MemoryMailbox"]
