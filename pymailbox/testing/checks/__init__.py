"""The checks, one module for each subject. ``CHECKS`` has them in the best order for reading."""

from __future__ import annotations

from typing import Final

from .._suite import Check
from . import (
    ack,
    ack_and_send,
    arguments,
    asking,
    changes,
    closing,
    concurrency,
    consuming,
    dead_letters,
    dedupe,
    delay,
    dequeue,
    dequeue_ack,
    enqueue,
    enqueue_many,
    get,
    headers,
    manifest,
    message_ids,
    nack,
    names,
    observer,
    opening,
    ownership,
    peek,
    promote,
    purge,
    recover,
    relaying,
    release,
    status,
    storage,
    transfer,
    waiting,
)

_SUBJECTS = (
    manifest,
    enqueue,
    enqueue_many,
    headers,
    dequeue,
    waiting,
    ack,
    dequeue_ack,
    status,
    changes,
    peek,
    get,
    purge,
    observer,
    message_ids,
    dedupe,
    concurrency,
    opening,
    closing,
    release,
    delay,
    promote,
    nack,
    dead_letters,
    recover,
    ack_and_send,
    storage,
    transfer,
    consuming,
    asking,
    relaying,
    ownership,
    names,
    arguments,
)

CHECKS: Final[tuple[Check, ...]] = tuple(
    value for subject in _SUBJECTS for value in vars(subject).values() if isinstance(value, Check)
)
"""Every check of the conformance suite, in the order in which they run."""
