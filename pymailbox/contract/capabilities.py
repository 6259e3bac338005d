"""What a backend may or may not be able to do."""

from __future__ import annotations

from enum import StrEnum


class Capability(StrEnum):
    """What a backend can do beyond the core verbs (``enqueue``, ``dequeue``, ``ack`` and ``status``) and ``close``."""

    ENQUEUE_MANY = "enqueue_many"
    MESSAGE_ID = "message_id"
    """``enqueue`` takes an id from the caller, and stores no second message under it."""
    ACK_MANY = "ack_many"
    PEEK = "peek"
    PURGE = "purge"
    DEPTH_OBSERVER = "set_depth_observer"
    RELEASE = "release"
    """What a handle holds goes back to the queue when it is closed, and when a ``dequeue`` is cancelled."""
    WAIT = "wait"
    """``dequeue(wait=...)`` and ``messages()`` are woken by new messages instead of polling."""
    DELAY = "delay"
    HEADERS = "headers"
    """``enqueue`` takes headers; ``enqueue_json`` needs it."""
    DEDUPE = "dedupe_for"
    """An id can stay known for a while after its message is gone."""
    GET = "get"
    PROMOTE = "promote"
    CHANGES = "changes"
    NACK = "nack"
    DEAD_LETTERS = "dead_letters"
    """``max_deliveries``, ``dead_letter``, ``dead_letters``, ``redrive`` and ``discard``."""
    RECOVER = "recover"
    """What a dead holder held goes back to the queue."""
    ACK_AND_SEND = "ack_and_send"
    ASK = "ask"
    """A handle can make other mailboxes in its database, so that ``ask`` works, which needs ``HEADERS`` as well, and so
    that ``relay`` may send to it."""
    STORAGE_REPORT = "storage_report"
    """``storage_report`` and ``request_persistence``."""
