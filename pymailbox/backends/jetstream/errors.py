"""What the server's errors mean for a caller."""

from __future__ import annotations

from typing import Any, Final

from ...contract.errors import MailboxError, StorageFullError, StorageUnavailableError

NO_STREAM: Final = 10059
NO_MESSAGE: Final = 10037
NO_CLUSTER: Final = 10074
TOO_FEW_SERVERS: Final = 10005
"""For so many replicas."""
CHANGED: Final = frozenset({10071, 10164})
"""A condition on a subject's last sequence did not hold, or something for that subject is on its way."""

_FULL: Final = frozenset({10023, 10047, 10077, 10122})
_PASSING: Final = frozenset({10008, 10004, 10009, 10118, 10180, 10175, 10176, 10210})
"""No leader at the moment, a server that is only starting, or a batch of which a piece was lost or had no room."""
_NO_JETSTREAM: Final = frozenset({10039, 10076})
_CROWDED: Final = 10026
"""As many consumers as a stream may have; 1,000 unless a server of 2.15 says otherwise."""


class RefusedError(Exception):
    """The server's answer is an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.code: int = error.get("err_code", error.get("code", 0))
        self.text: str = error.get("description", "no description")
        super().__init__(f"{self.text} ({self.code})")

    @property
    def passing(self) -> bool:
        """Whether the same may go well a moment later."""
        return self.code in _PASSING or self.code == 503

    def meaning(self, what: str) -> MailboxError:
        """As callers see it."""
        if self.code in _FULL:
            return StorageFullError(
                f"{what}: there is no room left ({self}), and nothing was stored. Acknowledge messages, or give the "
                "stream or its server more room, and try again"
            )
        if self.code in _NO_JETSTREAM:
            return StorageUnavailableError(
                f"{what}: the server has no JetStream for this account ({self}). Start it with -js, or switch "
                "JetStream on for the account"
            )
        if self.code == _CROWDED:
            return StorageUnavailableError(
                f"{what}: as many handles follow this stream's mailboxes as the server allows ({self}). Close some, "
                "spread the mailboxes over several streams, or raise default_max_consumers in the server's settings",
                passing=True,
            )
        return StorageUnavailableError(f"{what}: the server refuses ({self})")


class NoStreamError(StorageUnavailableError):
    """There is no such stream, and none is to be made."""


class WipedError(StorageUnavailableError):
    """The stream was deleted under a live handle."""

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"the stream {stream!r} was deleted while this mailbox was open, and its messages with it. Nothing was "
            "stored; the mailbox goes on with an empty stream"
        )


class NotThereError(Exception):
    """Nobody answers for a subject: the stream is not there, or has no leader."""


class TimedOutError(Exception):
    """No answer came in time."""


class CutOffError(Exception):
    """The connection was lost before an answer came."""


class NotSentError(CutOffError):
    """There was no connection at all, or one that takes no more at the moment."""
