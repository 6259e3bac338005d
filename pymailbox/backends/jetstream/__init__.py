"""Mailboxes in a stream of NATS JetStream, by nats-py.

The stream is the log of all its mailboxes. A commit is one message in it, with all that its calls ask for (``codec``).
Whoever takes messages out follows the log (``follower``) and applies the core's rules to it (``state``): so everybody
comes to the same result, and a verb's answer is what its own commit gave in its place. Whoever only enqueues follows
nothing.

From the outside in: ``mailbox`` is the handle; ``replica`` is a mailbox as this event loop knows it; ``writer``
commits, ``bodies`` are the bytes of messages, of which only lately heard ones are in memory; ``snapshots`` are states
as bytes, and ``cleaning`` purges what they make superfluous; ``link`` is the connection, one for each stream and event
loop, with ``client`` (nats-py's, mended), ``location`` (its address, and names as subjects), ``settings`` (what the
stream is like) and ``errors``.
"""

from importlib.util import find_spec

from ...contract.errors import NOT_IN_PAGES, MissingImportError
from ...contract.location import IN_PYODIDE, missing_backend

if find_spec(f"{__name__}.mailbox") is None:
    raise missing_backend("nats", NOT_IN_PAGES, MissingImportError)

if IN_PYODIDE:
    raise missing_backend("nats", "a page cannot use it yet", MissingImportError)

try:
    import nats  # noqa: F401
except ImportError as error:
    why = f"it needs nats-py ({error}). Install it, with pip install 'pymailbox[nats]'"
    raise missing_backend("nats", why, MissingImportError) from error

from .mailbox import JetStreamMailbox

__all__ = ["JetStreamMailbox"]
