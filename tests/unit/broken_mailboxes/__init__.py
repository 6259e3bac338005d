"""Mailboxes with one bug each, and the checks that have to find it: how the conformance suite is itself tested.

Several of the bugs were met in other queues: order by clock with ties by random id, a dequeue that reads in one
transaction and marks in a second, an ack that is undone by a stale copy, an opened handle that takes live work away,
an inflight message that a crash strands for good.
"""

from tests.unit.broken_mailboxes import (
    acks,
    batches,
    borders,
    consuming,
    deaths,
    delays,
    dequeue_acks,
    dequeuing,
    headers,
    ids,
    known_ids,
    letters,
    looking,
    nacks,
    observers,
    opening,
    order,
    peek_and_purge,
    releases,
    status,
    steps,
    stored,
    transfers,
    waiting,
)
from tests.unit.broken_mailboxes._register import BROKEN, FOUND_BY_PROGRAMS

__all__ = [
    "BROKEN",
    "FOUND_BY_PROGRAMS",
    "acks",
    "batches",
    "borders",
    "consuming",
    "deaths",
    "delays",
    "dequeue_acks",
    "dequeuing",
    "headers",
    "ids",
    "known_ids",
    "letters",
    "looking",
    "nacks",
    "observers",
    "opening",
    "order",
    "peek_and_purge",
    "releases",
    "status",
    "steps",
    "stored",
    "transfers",
    "waiting",
]
