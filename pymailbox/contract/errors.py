"""Every error that a mailbox raises: one root, and one class for each thing that a caller can do next.

The first line of a class's docstring is its default message. The platform's own error, if there is one, is the
``__cause__``. A bad argument is not a ``MailboxError`` but a ``TypeError`` or ``ValueError`` that names the argument.
"""

from __future__ import annotations

from typing import Final

NOT_IN_PAGES: Final = (
    "the wheel for pages leaves it out. Install the whole one, by its URL: "
    'micropip.install("https://.../pymailbox-VERSION-py3-none-any.whl")'
)
"""Why something is missing in Pyodide, and what to do."""


class MailboxError(Exception):
    """The mailbox could not do what was asked."""

    passing: bool = False
    """Whether the obstacle may be gone a moment later, so that the same call is worth another try: a lost connection, a
    full storage, a file that another program keeps locked. The class decides unless the error itself says so."""

    def __init__(self, message: str | None = None, *, passing: bool | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])
        if passing is not None:
            self.passing = passing


class MailboxClosedError(MailboxError):
    """This mailbox is closed. Open it again with open_mailbox()."""


class UnsupportedError(MailboxError):
    """This backend cannot do that; Mailbox.capabilities says what it can."""


class StorageUnavailableError(MailboxError):
    """There is no storage here to keep messages in."""


class UnknownSchemeError(StorageUnavailableError, ValueError):
    """The location names a backend that does not exist."""


class MissingImportError(StorageUnavailableError, ImportError):
    """A backend cannot be imported here."""


class MissingNameError(StorageUnavailableError, AttributeError):
    """A backend that cannot be imported here, asked for as an attribute: ``hasattr`` then finds that it is missing."""


class StorageFullError(MailboxError):
    """The storage is full and nothing was stored. Free some space, or acknowledge messages, and try again."""

    passing = True


class StorageCorruptError(MailboxError):
    """The storage cannot be read as a mailbox."""


class WrongThreadError(MailboxError):
    """A mailbox belongs to the thread, event loop and process that opened it. Open another one here."""


class ConnectionLostError(MailboxError):
    """The connection to the storage was lost and could not be restored."""

    passing = True


class Reject(MailboxError):  # noqa: N818  raised by handlers, as a verb
    """The handler rejected the message: it becomes a dead letter at once, with this text as its reason.

    With ``raise Reject(...) from error``, the traceback of that error follows the text after an empty line.
    """
