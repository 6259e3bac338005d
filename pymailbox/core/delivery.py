"""The delivery state of a message: what it has been through, in one number, so that a run of messages shares it.

Four flags, how often it has been handed out, and how often that failed.
"""

from __future__ import annotations

from typing import Final

from ..contract.limits import MOST_COUNTED

CUSTOM_ID: Final = 1
"""Its id was given by its sender."""

SUSPECT: Final = 2
"""A holder died with it: it is handed out in a batch of its own, so that one that kills its consumer is found out."""

SOLO: Final = 4
"""Its last hand-out was a batch of its own."""

HAS_ERROR: Final = 8
"""A nack said what went wrong."""

_HAND_OUT: Final = 16
_FAILURE: Final = _HAND_OUT << MOST_COUNTED.bit_length()

LARGEST: Final = _FAILURE * (MOST_COUNTED + 1) - 1

NEVER: Final = 0
"""Of a message that was never handed out and has no id of its sender's."""


def restored(hand_outs: int, failures: int, *, suspect: bool, has_error: bool) -> int:
    """Of a message that was in a mailbox before; its id counts as its sender's."""
    flags = CUSTOM_ID | (SUSPECT if suspect else 0) | (HAS_ERROR if has_error else 0)
    return flags + min(hand_outs, MOST_COUNTED) * _HAND_OUT + min(failures, MOST_COUNTED) * _FAILURE


def hand_outs(delivery: int) -> int:
    """How often it has been handed out."""
    return delivery % _FAILURE // _HAND_OUT


def failures(delivery: int) -> int:
    """How many of these failed."""
    return delivery // _FAILURE


def handed_out(delivery: int, solo: bool) -> int:
    """``solo``: whether it is the only one of its batch."""
    if not delivery:  # the usual case
        return _HAND_OUT | SOLO if solo else _HAND_OUT
    handed = delivery & ~SOLO | (SOLO if solo else 0)
    return handed + _HAND_OUT if hand_outs(delivery) < MOST_COUNTED else handed


def undelivered(delivery: int) -> int:
    """As if the last hand-out had not happened."""
    return (delivery & ~SOLO) - (_HAND_OUT if hand_outs(delivery) else 0)


def failed(delivery: int) -> int:
    """Its holder gave it back as failed; so it did not kill its holder."""
    return (delivery & ~(SOLO | SUSPECT)) + (_FAILURE if failures(delivery) < MOST_COUNTED else 0)


def abandoned(delivery: int) -> int:
    """Its holder died. Only a message that was solo is to blame."""
    return (failed(delivery) if delivery & SOLO else delivery) | SUSPECT
