"""Mailboxes for threads, Flask, Django and scripts: the verbs of ``pymailbox`` without ``await``.

    from pymailbox.sync import open_mailbox

    with open_mailbox("inbox") as mailbox:
        mailbox.enqueue(b"alice", b"hello")
        for message in mailbox.messages():
            print(message.sender, message.payload)
            mailbox.ack(message.id)

From the outside in: ``mailbox`` makes the verbs out of those of ``Mailbox``; ``consuming`` runs handlers in threads;
``loop`` is the one event loop behind all of it, and how threads get their calls into it.
"""

from .consuming import SyncContext, SyncHandler
from .mailbox import SyncIterator, SyncMailbox, backup, compact, delete_mailbox, list_mailboxes, open_mailbox

__all__ = [
    "SyncContext",
    "SyncHandler",
    "SyncIterator",
    "SyncMailbox",
    "backup",
    "compact",
    "delete_mailbox",
    "list_mailboxes",
    "open_mailbox",
]
