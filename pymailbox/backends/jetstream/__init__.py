"""Mailboxes in a stream of NATS JetStream, by nats-py.

The stream is the log of all its mailboxes. A commit is one message in it, with all that its calls ask for (``codec``).
Whoever takes messages out follows the log (``follower``) and applies the core's rules to it (``state``): so everybody
comes to the same result, and a verb's answer is what its own commit gave in its place. Whoever only enqueues follows
nothing.

From the outside in: ``mailbox`` is the handle; ``replica`` is a mailbox as this event loop knows it; ``writer``
commits, ``bodies`` are the bytes of messages, of which only lately heard ones are in memory; ``snapshots`` are states
as bytes, and ``cleaning`` purges what they make superfluous; ``arrivals`` are for who catches up; ``link`` is the
connection, one for each stream and event loop, with ``client`` (nats-py's, mended) and ``wire`` (a quick way for what
comes), ``location`` (its address, and names as subjects), ``settings`` (what the stream is like), ``space`` (how much
more it may hold), ``credentials`` (what signs) and ``errors``.
"""

from importlib.util import find_spec

from ...contract.errors import MissingImportError
from ...contract.location import IN_PYODIDE, missing_backend

if missing := [
    name
    for name, module in {"pymailbox-nats": f"{__name__}.mailbox", "nats-py": "nats"}.items()
    if not find_spec(module)
]:
    how = f"await micropip.install({missing})" if IN_PYODIDE else "pip install 'pymailbox[nats]'"
    raise missing_backend("nats", f"it needs {' and '.join(missing)}. Install it, with {how}", MissingImportError)

from .mailbox import JetStreamMailbox

__all__ = ["JetStreamMailbox"]
