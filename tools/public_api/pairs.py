"""Which names of the two languages belong together, and why some are in one only.

``snake_case`` in Python is ``camelCase`` in JavaScript; only what does not follow from that is written here. A key is
a name, ``Class.member``, ``function.parameter`` or ``Class.method.parameter``; ``*.name`` holds wherever a member or a
parameter has that name. What is missing here, or is here and no longer in the code, fails ``make generated``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Pairs:
    """What is known by hand of the two surfaces."""

    renamed: Mapping[str, str]
    """From the key of a name in Python to its name in JavaScript."""
    only_python: Mapping[str, str]
    """Why JavaScript does without."""
    only_javascript: Mapping[str, str]
    """Why Python does without; keys have JavaScript's names."""


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
        "run_sync": "JavaScript waits with `await` only",
        "set_suspendable": "about tasks of Python",
    },
    only_javascript={
        "*.cause": "`raise … from error` in Python",
        "*.signal": "cancel the task in Python",
        "Backpressure.close": "leave its `async with` in Python",
        "Bytes": "`bytes`, or any buffer of bytes, in Python",
        "Consumer.finished": "await the consumer in Python",
        "Context.signal": "a handler whose time is over is cancelled in Python",
        "HeadersGiven": "`Mapping[str, str]` in Python",
        "ImportSource": "an open file, or an iterable of pieces, asynchronous or not, in Python",
        "Mailbox.name": "Python's `Mailbox` may be of any backend; those of this package have it too",
        "MailboxInspector": "the class of `<mailbox-inspector>`, see [there](javascript.md#looking-into-a-mailbox)",
        "Send": "a tuple of a mailbox and a `NewMessage` in Python",
        "consume.signal": "`Consumer.stop()`, or cancel the task in Python",
    },
)
