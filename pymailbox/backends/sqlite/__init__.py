"""Mailboxes in a SQLite file, by the standard library's sqlite3.

From the outside in: ``mailbox`` is the handle; ``database`` is the file as this process shares it, with the one thread
that works on it; ``watcher`` is what that thread does between calls; ``engine`` runs calls in transactions, and notices
when the file has disappeared; ``headroom`` keeps enqueues from filling the disk. Calls apply the rules of
``pymailbox.core`` to a file: ``verbs`` (in, out, looking) and ``claiming`` (to holders and back) use ``session`` (the
mailboxes that the connection knows), ``store`` (one mailbox as rows), its ``bodies`` (made of ``frames``) and ``pages``
(parts of a state with rows of their own); ``mending`` is for ``rows`` that cannot be read. ``liveness`` tells which
holders live, by their ``locks``. ``schema`` opens the file, whose tables are in ``layout``, with ``mounts`` (whether
its place is safe), ``restored`` (our tables without our header) and ``upgrades`` (from older layouts); ``copying`` and
``compacting`` deal with whole files; ``read_only`` is for a file that may not be written. ``errors`` is the one table
of what can go wrong.
"""

from importlib.util import find_spec

from ...contract.errors import NOT_IN_PAGES, MissingImportError
from ...contract.location import IN_PYODIDE, missing_backend

if find_spec(f"{__name__}.mailbox") is None:
    raise missing_backend("sqlite", NOT_IN_PAGES, MissingImportError)

try:
    import sqlite3  # noqa: F401
except ImportError as error:
    why = (
        'Python\'s sqlite3 module is a separate package here. Load it first, with pyodide.loadPackage("sqlite3")'
        if IN_PYODIDE
        else f"this Python was built without its sqlite3 module, or cannot load it ({error}). Install one that has it"
    )
    raise missing_backend("sqlite", why, MissingImportError) from error

from .mailbox import SqliteMailbox

__all__ = ["SqliteMailbox"]
