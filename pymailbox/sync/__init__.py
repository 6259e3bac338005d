"""Mailboxes for threads, Flask, Django and scripts: the verbs of ``pymailbox`` without ``await``.

    from pymailbox.sync import open_mailbox

    with open_mailbox("inbox") as mailbox:
        mailbox.enqueue(b"alice", b"hello")
        for message in mailbox.messages():
            print(message.sender, message.payload)
            mailbox.ack(message.id)

From the outside in: ``mailbox`` makes the verbs out of those of ``Mailbox``; ``consuming`` runs handlers in threads;
``loop`` is the one event loop behind all of it, and how threads get their calls into it. Pyodide has no threads; the
wheel for pages leaves those modules out.
"""

from typing import TYPE_CHECKING, Any, NoReturn

from ..contract.errors import MissingNameError, StorageUnavailableError
from ..contract.location import IN_PYODIDE

if TYPE_CHECKING or not IN_PYODIDE:
    from .consuming import SyncContext, SyncHandler
    from .mailbox import SyncIterator, SyncMailbox, ask, backup, compact, delete_mailbox, list_mailboxes, open_mailbox
else:
    _WHY = (
        "pymailbox.sync needs a thread, and Pyodide has none. Use pymailbox.run_sync(), as in "
        "run_sync(open_mailbox(...)), where the browser can suspend Python; otherwise await"
    )

    def open_mailbox(*arguments: Any, **options: Any) -> NoReturn:
        """Raises ``StorageUnavailableError``: there are no threads here."""
        raise StorageUnavailableError(_WHY)

    ask = list_mailboxes = delete_mailbox = backup = compact = open_mailbox

    def __getattr__(name: str) -> NoReturn:
        raise MissingNameError(_WHY if name in __all__ else f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "SyncContext",
    "SyncHandler",
    "SyncIterator",
    "SyncMailbox",
    "ask",
    "backup",
    "compact",
    "delete_mailbox",
    "list_mailboxes",
    "open_mailbox",
]
