"""Reply mailboxes: what they are called, and how others see whether their asker is there.

A reply mailbox has a *marker*: a message whose id is in the mailbox's name, and which its asker holds as long as it
lives. No marker: there is no such mailbox any more. A marker that nobody holds: the asker died (or its page is frozen).
So the backend's own liveness decides, and no clock does, except that a mailbox may be so new that its marker is not
there yet; the id therefore begins with the time.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from ..contract.errors import MailboxError
from ..contract.moments import now_in_ms

REPLY_TO: Final = "reply-to"
"""The header with the name of the mailbox that an answer goes to."""

CORRELATION_ID: Final = "correlation-id"
"""The header that a question and its answer share."""

_PREFIX: Final = "pymailbox-replies-"
_NAME: Final = re.compile(f"{_PREFIX}([0-9a-f]{{8}}-[0-9a-f]{{4}}-7[0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}})")

_logger = logging.getLogger("pymailbox")

_NEW: Final = 60_000
"""Milliseconds for which a reply mailbox may be without a marker that is held."""


def new_marker() -> UUID:
    """A UUIDv7 (RFC 9562), which begins with the time."""
    random_bits = secrets.randbits(80) & ~(0xF << 76 | 0b11 << 62)
    return UUID(int=now_in_ms() << 80 | 0x7 << 76 | 0b10 << 62 | random_bits)


def name_of(marker: UUID) -> str:
    """The name of the reply mailbox with this marker."""
    return f"{_PREFIX}{marker}"


def marker_of(name: str) -> UUID | None:
    """The marker of a reply mailbox; None if the name is not that of a reply mailbox."""
    match = _NAME.fullmatch(name)
    return None if match is None else UUID(match[1])


def may_be_left_over(name: str) -> bool:
    """Whether this is a reply mailbox, and not a new one."""
    marker = marker_of(name)
    return marker is not None and now_in_ms() - (marker.int >> 80) > _NEW


@contextmanager
def logged(text: str, *values: object) -> Iterator[None]:
    """What may fail without harm within this is written to the log."""
    try:
        yield
    except MailboxError as error:
        _logger.info(f"{text}: %s", *values, error)
    except Exception:
        _logger.exception(text, *values)
