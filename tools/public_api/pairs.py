"""Which names of the two languages belong together, and why some exist only in one.

``snake_case`` in Python is ``camelCase`` in JavaScript; only what does not follow from that is written here. A key is a
name, ``Class.member``, ``function.parameter`` or ``Class.method.parameter``; ``*.name`` applies wherever a member or a
parameter has that name. What is missing here, or is no longer in the code, makes ``make generated`` fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Pairs:
    """The handwritten knowledge of the two APIs."""

    renamed: Mapping[str, str]
    """From the key of a Python name to its JavaScript name."""
    only_python: Mapping[str, str]
    """Why JavaScript lacks it."""
    only_javascript: Mapping[str, str]
    """Why Python lacks it; keys have JavaScript's names."""


PAIRS: Final = Pairs(
    renamed={
        "*.location": "name",
        "NewMessage.of_json": "jsonMessage",
        "export": "exportMailbox",
        "import_": "importMailbox",
    },
    only_python={
        "*.from_dict": "a value in JavaScript is plain data, which `structuredClone` and `postMessage` copy",
        "*.to_dict": "a value in JavaScript is plain data, which `structuredClone` and `postMessage` copy",
        "*.connect": "for mailboxes on a NATS server",
        "Backpressure.on_depth_change": "the observer is a function in JavaScript, and private here",
        "Capability": "JavaScript has one backend, which can do everything",
        "IndexedDbMailbox": "`Mailbox` is that in JavaScript",
        "JetStreamMailbox": "JavaScript keeps its messages in IndexedDB",
        "Mailbox.capabilities": "JavaScript has one backend, which can do everything",
        "MailboxDepthObserver": "a function in JavaScript",
        "MailboxOpening": "`openMailbox` gives a promise",
        "MemoryMailbox": "JavaScript keeps its messages in IndexedDB",
        "SqliteMailbox": "JavaScript keeps its messages in IndexedDB",
        "RelayStatus": "`relay` is in Python only, for now",
        "Relayer": "`relay` is in Python only, for now",
        "RetryPolicy.delay_after": "JavaScript's policy is a plain object",
        "WrongThreadError": "a JavaScript mailbox cannot leave the page or worker that opened it",
        "__version__": "the `package.json` of the npm package has it",
        "backup": "for SQLite files; `exportMailbox` writes a mailbox to a file",
        "compact": "for SQLite files",
        "list_mailboxes.location": "an origin has one database",
        "relay": "in Python only, for now; it relays mailboxes that JavaScript fills",
        "run_sync": "JavaScript waits only with `await`",
        "set_suspendable": "concerns Python tasks",
    },
    only_javascript={
        "*.cause": "`raise … from error` in Python",
        "*.signal": "cancel the task in Python",
        "Backpressure.close": "leave its `async with` in Python",
        "Bytes": "`bytes`, or any buffer of bytes, in Python",
        "Consumer.finished": "await the consumer in Python",
        "Context.signal": "Python cancels a handler whose time is over",
        "HeadersGiven": "`Mapping[str, str]` in Python",
        "ImportSource": "an open file, or an iterable of pieces, asynchronous or not, in Python",
        "Mailbox.name": "Python's `Mailbox` may be of any backend; those of this package have it too",
        "MailboxInspector": "the class of `<mailbox-inspector>`, see [there](javascript.md#looking-into-a-mailbox)",
        "Send": "a tuple of a mailbox and a `NewMessage` in Python",
        "consume.signal": "`Consumer.stop()`, or cancel the task in Python",
    },
)
