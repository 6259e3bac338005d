"""A durable mailbox for Python actors, in web pages and on CPython.

async with open_mailbox("inbox") as mailbox:
    await mailbox.enqueue(b"alice", b"hello")
    for message in await mailbox.dequeue():
        print(message.sender, message.payload)
        await mailbox.ack(message.id)
"""

import sys
from typing import TYPE_CHECKING, Any

from ._open import MailboxOpening, backup, compact, delete_mailbox, list_mailboxes, open_mailbox
from .actors import Backpressure, Consumer, Context, Handler, Retry, RetryPolicy, ask
from .contract.arguments import Durability
from .contract.capabilities import Capability
from .contract.errors import (
    ConnectionLostError,
    MailboxClosedError,
    MailboxError,
    MissingImportError,
    MissingNameError,
    Reject,
    StorageCorruptError,
    StorageFullError,
    StorageUnavailableError,
    UnsupportedError,
    WrongThreadError,
)
from .contract.mailbox import Mailbox
from .contract.values import (
    DeadLetter,
    MailboxDepthObserver,
    MailboxStats,
    MessagePriority,
    MessageRecord,
    MessageStatus,
    NewMessage,
    StorageReport,
)
from .runtime.suspension import set_suspendable

if TYPE_CHECKING:
    from .backends.indexeddb import IndexedDbMailbox
    from .backends.jetstream import JetStreamMailbox
    from .backends.memory import MemoryMailbox
    from .backends.sqlite import SqliteMailbox
    from .relaying import Relayer, RelayStatus, relay
    from .runtime.run_sync import run_sync
    from .transfer import ImportReport, RefusedLine, export, import_

Mailbox._consumer_type = Consumer  # which is written in terms of a mailbox

__version__ = "0.1.0"
"""Of the package, as ``pip`` knows it."""

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
    "JetStreamMailbox",
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
    "RelayStatus",
    "Relayer",
    "Retry",
    "RetryPolicy",
    "SqliteMailbox",
    "StorageCorruptError",
    "StorageFullError",
    "StorageReport",
    "StorageUnavailableError",
    "UnsupportedError",
    "WrongThreadError",
    "__version__",
    "ask",
    "backup",
    "compact",
    "delete_mailbox",
    "export",
    "import_",
    "list_mailboxes",
    "open_mailbox",
    "relay",
    "run_sync",
    "set_suspendable",
]

_LAZY = {
    "ImportReport": "transfer",
    "IndexedDbMailbox": "backends.indexeddb",
    "JetStreamMailbox": "backends.jetstream",
    "MemoryMailbox": "backends.memory",
    "RefusedLine": "transfer",
    "RelayStatus": "relaying",
    "Relayer": "relaying",
    "SqliteMailbox": "backends.sqlite",
    "export": "transfer",
    "import_": "transfer",
    "relay": "relaying",
    "run_sync": "runtime.run_sync",
}
"""Where names are that are imported when first asked for: a page has no use for sqlite3, nor CPython for the FFI."""

_NAMES = __all__

if not TYPE_CHECKING:
    # asked for, it is made of the names that there are: a star import must not fail for want of sqlite3
    del __all__


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return [public for public in _NAMES if public not in _LAZY or _is_there(public)]
    if name == "sync":  # a module, which a program that has only imported this one may mention
        from importlib import import_module

        return import_module(f"{__name__}.sync")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    except MissingImportError as error:
        if sys._getframe(1).f_code.co_name == "_handle_fromlist":
            raise  # ``from pymailbox import NAME``, which would hide the text of an AttributeError
        raise MissingNameError(str(error)) from error


def _is_there(name: str) -> bool:
    try:
        __getattr__(name)
    except MissingNameError:
        return False
    return True


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, "__all__"})
