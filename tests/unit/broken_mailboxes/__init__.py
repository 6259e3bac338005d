"""Mailboxes with one bug each, and the checks that must find it: this tests the conformance suite itself.

Several of the bugs come from other queues: order by clock with ties broken by random ids, a dequeue that reads in one
transaction and marks in a second, an ack undone by a stale copy, an opened handle that takes away work in progress, an
inflight message that a crash strands for good.
"""

from tests.unit.broken_mailboxes import (
    acks,
    asking,
    batches,
    borders,
    consuming,
    dead_letters,
    deaths,
    delays,
    dequeue_acks,
    dequeuing,
    headers,
    ids,
    known_ids,
    looking,
    nacks,
    observers,
    opening,
    order,
    peek_and_purge,
    relaying,
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
    "asking",
    "batches",
    "borders",
    "consuming",
    "dead_letters",
    "deaths",
    "delays",
    "dequeue_acks",
    "dequeuing",
    "headers",
    "ids",
    "known_ids",
    "looking",
    "nacks",
    "observers",
    "opening",
    "order",
    "peek_and_purge",
    "relaying",
    "releases",
    "status",
    "steps",
    "stored",
    "transfers",
    "waiting",
]
