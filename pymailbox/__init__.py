"""A durable mailbox for Python actors, in web pages and on CPython.

async with open_mailbox("inbox") as mailbox:
    await mailbox.enqueue(b"alice", b"hello")
    for message in await mailbox.dequeue():
        print(message.sender, message.payload)
        await mailbox.ack(message.id)
"""

from typing import TYPE_CHECKING, Any

from ._arguments import Durability
from ._errors import (
    ConnectionLostError,
    MailboxClosedError,
    MailboxError,
    Reject,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
    UnsupportedError,
    WrongThreadError,
)
from ._mailbox import Capability, Mailbox
from ._open import MailboxOpening, delete_mailbox, list_mailboxes, open_mailbox
from ._run_sync import run_sync
from ._values import (
    DeadLetter,
    MailboxDepthObserver,
    MailboxStats,
    MessagePriority,
    MessageRecord,
    MessageStatus,
    NewMessage,
    StorageReport,
)
from .actors import Backpressure, Consumer, Context, Handler, RetryPolicy

if TYPE_CHECKING:
    from .backends.indexeddb import IndexedDbMailbox
    from .backends.memory import MemoryMailbox
    from .backends.sqlite import SqliteMailbox
    from .transfer import ImportReport, RefusedLine, export, import_

__version__ = "0.1.0"

__all__ = [
    "Backpressure",
    "Capability",
    "ConnectionLostError",
    "Consumer",
    "Context",
    "DeadLetter",
    "Durability",
    "Handler",
    "ImportReport",
    "IndexedDbMailbox",
    "Mailbox",
    "MailboxClosedError",
    "MailboxDepthObserver",
    "MailboxError",
    "MailboxOpening",
    "MailboxStats",
    "MemoryMailbox",
    "MessagePriority",
    "MessageRecord",
    "MessageStatus",
    "NewMessage",
    "RefusedLine",
    "Reject",
    "RetryPolicy",
    "SqliteMailbox",
    "StorageCorruptError",
    "StorageFullError",
    "StorageReport",
    "StorageUnavailableError",
    "UnsupportedError",
    "WrongThreadError",
    "__version__",
    "delete_mailbox",
    "export",
    "import_",
    "list_mailboxes",
    "open_mailbox",
    "run_sync",
]

_LAZY = {
    "ImportReport": "transfer",
    "IndexedDbMailbox": "backends.indexeddb",
    "MemoryMailbox": "backends.memory",
    "RefusedLine": "transfer",
    "SqliteMailbox": "backends.sqlite",
    "export": "transfer",
    "import_": "transfer",
}
"""Where names are that are imported when first asked for: a page has no use for sqlite3, nor CPython for the FFI."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
