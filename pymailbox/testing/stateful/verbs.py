"""The verbs, with random arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple
from uuid import UUID

from ...contract.capabilities import Capability
from ...contract.values import MessageStatus
from .._verbs import VERBS
from ..model import Model
from .program import Call, Handle, Program


class VerbKind(NamedTuple):
    """A verb with random arguments."""

    verb: str
    weight: int
    make: Callable[[Program, Handle], Call]
    also_requires: Capability | None = None
    """In addition to what the verb itself does."""

    def can_be_used_by(self, handle: Handle) -> bool:
        required = (VERBS[self.verb].capability, self.also_requires)
        return handle.can(*(capability for capability in required if capability is not None))


def enqueue(program: Program, handle: Handle) -> Call:
    message = program.new_message(handle)
    optional = {
        "message_id": message.message_id,
        "delay": message.delay,
        "headers": message.headers,
        "dedupe_for": message.dedupe_for,
    }
    keywords = {name: value for name, value in optional.items() if value is not None}
    return Call(handle, "enqueue", (message.sender, message.payload, message.priority), keywords)


def _enqueue_json(program: Program, handle: Handle) -> Call:
    message = program.new_message(handle)
    optional = {"message_id": message.message_id, "delay": message.delay, "headers": message.headers}
    keywords = {name: value for name, value in optional.items() if value is not None}
    value = {"sender": list(bytes(message.sender)), "é🙃": None}
    return Call(handle, "enqueue_json", (value,), keywords)


def _enqueue_many(program: Program, handle: Handle) -> Call:
    size = program.rng.choices([0, program.rng.randint(1, 10), program.rng.randint(30, 200)], [1, 12, 3])[0]
    return Call(handle, "enqueue_many", ([program.new_message(handle) for _ in range(size)],))


def dequeue(program: Program, handle: Handle) -> Call:
    keywords = {}
    if handle.mailbox._acks_with_claims and program.rng.random() < 0.2:
        # only a few: what others do with a message takes several steps
        keywords["ack"] = [program.id_to_ack(handle) for _ in range(program.rng.randrange(5))]
    return Call(handle, "dequeue", program.limit(handle), keywords)


def _ack(program: Program, handle: Handle) -> Call:
    return Call(handle, "ack", (program.id_to_ack(handle),))


def _ack_many(program: Program, handle: Handle) -> Call:
    size = program.rng.choices([0, 1, program.rng.randint(2, 60)], [1, 2, 10])[0]
    return Call(handle, "ack_many", ([program.id_to_ack(handle) for _ in range(size)],))


def _ack_and_send(program: Program, handle: Handle) -> Call:
    sends = []
    for _ in range(program.rng.randint(0, 3)):
        target = program.rng.choice(program.handles or [handle])
        message = program.new_message(target)
        # the answer does not give the ids, so each message brings its own
        message_id = message.message_id or UUID(int=program.rng.getrandbits(128))
        sends.append((target, replace(message, message_id=message_id)))
    return Call(handle, "ack_and_send", (program.id_to_ack(handle), sends))


def _nack(program: Program, handle: Handle) -> Call:
    optional: dict[str, Any] = {
        "delay": program.delay(handle),
        "error": program.rng.choice([None, "ValueError: 5", "é🙃"]),
        "failed": program.rng.choice([None, None, None, False, True]),
    }
    keywords = {name: value for name, value in optional.items() if value is not None}
    # making and clearing a suspect takes many steps
    suspects = [message.id for message in program.judge.model.held_by(handle.consumer) if message.suspect]
    return Call(handle, "nack", (suspects[0] if suspects else program.id_to_ack(handle),), keywords)


def _dead_letter(program: Program, handle: Handle) -> Call:
    return Call(handle, "dead_letter", (program.id_to_ack(handle), f"reason {program.rng.randrange(10)}"))


def _dead_letters(program: Program, handle: Handle) -> Call:
    return Call(handle, "dead_letters", program.limit(handle), program.offset())


def _redrive(program: Program, handle: Handle) -> Call:
    return Call(handle, "redrive", (program.dead_id(handle),))


def _discard(program: Program, handle: Handle) -> Call:
    return Call(handle, "discard", (program.dead_id(handle),))


def _status(program: Program, handle: Handle) -> Call:
    return Call(handle, "status")


def _peek(program: Program, handle: Handle) -> Call:
    status = program.rng.choice([None, *MessageStatus])
    keywords: dict[str, Any] = {} if status is None else {"status": status}
    return Call(handle, "peek", program.limit(handle), keywords | program.offset())


def _get(program: Program, handle: Handle) -> Call:
    some_id = program.dead_id(handle) if program.rng.random() < 0.2 else program.id_to_ack(handle)
    return Call(handle, "get", (some_id,))


def _promote(program: Program, handle: Handle) -> Call:
    if program.rng.random() < 0.3:
        return Call(handle, "promote")
    delayed = [message.id for message in program.judge.model.queued(handle.consumer.mailbox) if message.delay]
    ids = program.rng.sample(delayed, min(len(delayed), program.rng.randint(0, 3)))
    return Call(handle, "promote", ([*ids, program.id_to_ack(handle)],))


def _set_depth_observer(program: Program, handle: Handle) -> Call:
    handle.listening = program.rng.random() < 0.8
    return Call(handle, "set_depth_observer", (handle if handle.listening else None,))


_WITH_ARGUMENTS: Final = (
    VerbKind("enqueue", 20, enqueue),
    VerbKind("enqueue_json", 4, _enqueue_json),
    VerbKind("enqueue_many", 14, _enqueue_many),
    VerbKind("dequeue", 20, dequeue),
    VerbKind("ack", 14, _ack),
    VerbKind("ack_many", 8, _ack_many),
    VerbKind("ack_and_send", 5, _ack_and_send, Capability.MESSAGE_ID),
    VerbKind("nack", 12, _nack),
    VerbKind("dead_letter", 4, _dead_letter),
    VerbKind("dead_letters", 2, _dead_letters),
    VerbKind("redrive", 4, _redrive),
    VerbKind("discard", 2, _discard),
    VerbKind("status", 6, _status),
    VerbKind("peek", 5, _peek),
    VerbKind("get", 5, _get),
    VerbKind("promote", 3, _promote),
    VerbKind("set_depth_observer", 2, _set_depth_observer),
)


def _plain(verb: str) -> VerbKind:
    return VerbKind(verb, 1, lambda _, handle: Call(handle, verb))


KINDS: Final = (
    *_WITH_ARGUMENTS,
    *(_plain(verb) for verb in VERBS if hasattr(Model, verb) and verb not in {kind.verb for kind in _WITH_ARGUMENTS}),
)
"""The verbs that the model knows; a verb without an entry of its own is called now and then as it is."""


def random_call(program: Program, handle: Handle, *, but: tuple[str, ...] = ()) -> Call:
    kinds = [kind for kind in KINDS if kind.can_be_used_by(handle) and kind.verb not in but]
    [kind] = program.rng.choices(kinds, [kind.weight for kind in kinds])
    return kind.make(program, handle)
