"""Writes tests/traces.json: random histories of one database, according to the model.

A trace is what callers did, the answers, and what `status()` counted after each step. Two tests replay it:
tests/js/traces.test.js on the JavaScript model, tests/unit/test_traces.py on the Python core. Neither knows the model.

A step is `[what, who, arguments, answer, counts]`. Messages have names, which stand for their ids; a new one is `[name,
priority, delay, whether the sender gives the id]`. Mailboxes are `a` and `b`, and a consumer's name begins with its
mailbox. Times are seconds; the clock moves only with `let_time_pass`, by one second. The counts are of `a` and `b`:
queued with NORMAL and with HIGH priority, inflight, dead letters, delayed.

Usage: python -m tools.traces
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pymailbox import DeadLetter, MailboxStats, MessagePriority, MessageRecord, MessageStatus, NewMessage
from pymailbox.testing.model import Consumer, Model, ModelMessage

PATH: Final = Path(__file__).parent.parent / "tests" / "traces.json"
SEED: Final = 20
TRACES: Final = 16
STEPS: Final = 70
MAILBOXES: Final = ("a", "b")

_SOMETIME: Final = datetime.fromtimestamp(0, UTC)
_EVERYTHING: Final = 1000


class Trace:
    """A history being made."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.model = Model()
        self.steps: list[list[Any]] = []
        self.consumers: list[Consumer] = []
        self._opened = 0
        self._names: dict[UUID, str] = {}
        self._delays = iter(range(1, 1000))
        for mailbox in MAILBOXES:
            self.open(mailbox)

    # -- names and values ----------------------------------------------------------------------------------------------

    def new_id(self, kind: str) -> UUID:
        message_id = UUID(int=len(self._names) + 1)
        self._names[message_id] = f"{kind}{len(self._names) + 1}"
        return message_id

    def name(self, message_id: UUID) -> str:
        return self._names[message_id]

    def delay(self) -> float | None:
        """Mostly none; no two delays of a trace are the same."""
        number = next(self._delays)
        return self.rng.choices([None, number / 1000, number * 1000.0], [8, 1, 1])[0]

    def message(self, mailbox: str, *, custom: bool | None = None) -> NewMessage:
        custom = self.rng.random() < 0.25 if custom is None else custom
        message_id = None
        if custom:
            there = [*self.model.of(mailbox), *self.model.dead(mailbox)]
            old = [message_id for message_id, name in self._names.items() if name[0] == "c"]
            again = self.rng.choice([there, old])
            message_id = self.rng.choice(again) if again and self.rng.random() < 0.4 else self.new_id("c")
        priority = self.rng.choices(list(MessagePriority), [3, 1])[0]
        return NewMessage(b"", b"", priority, message_id, self.delay())

    def written(self, message: NewMessage, returned: UUID) -> list[Any]:
        return [self.name(returned), int(message.priority), message.delay, message.message_id is not None]

    def record(self, message: ModelMessage, status: MessageStatus = MessageStatus.INFLIGHT) -> MessageRecord:
        return MessageRecord(
            message.id,
            b"",
            b"",
            message.priority,
            message.created_at or _SOMETIME,
            status,
            message.delivery_count,
            due_at=_SOMETIME if message.delay else None,
        )

    # -- steps ---------------------------------------------------------------------------------------------------------

    def see(self, verb: str, caller: Consumer, arguments: Any, answer: Any, *judged: Any, **keywords: Any) -> None:
        """Have the model judge an answer, and record the step."""
        shown, given = answer
        getattr(self.model, verb)(caller, given, *judged, **keywords)
        counts = [self._counts(mailbox) for mailbox in MAILBOXES]
        self.steps.append([verb, caller.name, arguments, shown, counts])

    def _counts(self, mailbox: str) -> list[int]:
        by_priority = {
            priority: sum(message.priority is priority for message in self.model.queued(mailbox))
            for priority in MessagePriority
        }
        inflight, dead = len(self.model.inflight(mailbox)), len(self.model.dead(mailbox))
        delayed = sum(message.delay > 0 for message in self.model.queued(mailbox))
        oldest = _SOMETIME if sum(by_priority.values()) else None
        ever = self.model.ever_queued[mailbox]
        stats = MailboxStats(sum(by_priority.values()), inflight, by_priority, dead, delayed, oldest, ever)
        self.model.status(Consumer("", mailbox, None), stats)
        return [*by_priority.values(), inflight, dead, delayed]

    def open(self, mailbox: str) -> None:
        self._opened += 1
        most = self.rng.choice([None, 1, 2, 2, 3])
        consumer = Consumer(f"{mailbox}{self._opened}", mailbox, 32, most)
        self.consumers.append(consumer)
        self.steps.append(["open", consumer.name, most, None, [self._counts(mailbox) for mailbox in MAILBOXES]])

    def leave(self, consumer: Consumer, how: str) -> None:
        self.consumers.remove(consumer)
        self.see(how, consumer, None, (None, None))
        if all(other.mailbox != consumer.mailbox for other in self.consumers):
            self.open(consumer.mailbox)

    def step(self) -> None:
        caller = self.rng.choice(self.consumers)
        [verb] = self.rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        take: Callable[[Consumer], None] = getattr(self, f"_{verb}")
        take(caller)

    def enqueue_some(self) -> None:
        self._enqueue_many(self.rng.choice(self.consumers))

    def _enqueue_many(self, caller: Consumer) -> None:
        messages = [self.message(caller.mailbox) for _ in range(self.rng.choice([1, 1, 2, 3, 12]))]
        ids = [message.message_id or self.new_id("m") for message in messages]
        before = self._counts(caller.mailbox)
        arguments = [self.written(*pair) for pair in zip(messages, ids, strict=True)]
        self.see("enqueue_many", caller, arguments, (None, ids), messages)
        # what the observer is told
        after = self._counts(caller.mailbox)
        self.steps[-1][3] = sum(after[:2]) if after != before else None

    def _dequeue(self, caller: Consumer) -> None:
        limit = self.rng.choice([1, 1, 2, 5, 20])
        acked = [self.some(caller) for _ in range(self.rng.choice([0, 0, 0, 1, 2]))]
        trial = self.model.copy()
        for message_id in acked:
            trial.of(caller.mailbox).pop(message_id, None)
        batch = trial.next_batch(caller.mailbox, limit)
        records = [self.record(m._replace(delivery_count=m.delivery_count + 1)) for m in batch]
        shown = [[self.name(record.id), record.delivery_count] for record in records]
        arguments = [limit, [self.name(message_id) for message_id in acked]]
        self.see("dequeue", caller, arguments, (shown, records), limit, ack=acked)

    def _ack_many(self, caller: Consumer) -> None:
        ids = [self.some(caller) for _ in range(self.rng.choice([1, 1, 2, 6]))]
        there = len(set(ids) & self.model.of(caller.mailbox).keys())
        self.see("ack_many", caller, [self.name(message_id) for message_id in ids], (there, there), ids)

    def _ack_and_send(self, caller: Consumer) -> None:
        message_id = self.some(caller)
        sends = []
        for _ in range(self.rng.randrange(3)):
            target = self.rng.choice(MAILBOXES)
            sends.append((target, self.message(target, custom=True)))
        held = self.holds(caller, message_id)
        written = [[target, *self.written(message, message.message_id or message_id)] for target, message in sends]
        self.see("ack_and_send", caller, [self.name(message_id), written], (held, held), message_id, sends)

    def _nack(self, caller: Consumer) -> None:
        message_id, delay = self.some(caller), self.delay()
        error = self.rng.choice([None, None, "no", "é🙃"])
        held = self.holds(caller, message_id)
        failed = self.rng.random() < 0.6
        arguments = [self.name(message_id), delay, error, failed]
        self.see("nack", caller, arguments, (held, held), message_id, delay=delay, error=error, failed=failed)

    def _dead_letter(self, caller: Consumer) -> None:
        message_id, reason = self.some(caller), f"reason {self.rng.randrange(10)}"
        held = self.holds(caller, message_id)
        self.see("dead_letter", caller, [self.name(message_id), reason], (held, held), message_id, reason)

    def _dead_letters(self, caller: Consumer) -> None:
        """The answer lists those that died together in any order; here they are sorted by name."""
        letters = sorted(
            self.model.dead(caller.mailbox).values(),
            key=lambda letter: (-letter.death, self.name(letter.message.id)),
        )
        groups: dict[int, list[Any]] = {}
        answer = []
        for letter in letters:
            message = letter.message
            shown = [self.name(message.id), message.delivery_count, message.error, letter.reason]
            groups.setdefault(letter.death, []).append(shown)
            answer.append(DeadLetter(self.record(message), letter.reason or "words", message.error, _SOMETIME))
        self.see("dead_letters", caller, None, (list(groups.values()), answer), _EVERYTHING)

    def _redrive(self, caller: Consumer) -> None:
        message_id = self.dead(caller)
        found = message_id in self.model.dead(caller.mailbox)
        depth = sum(self._counts(caller.mailbox)[:2]) + 1 if found else None
        self.see("redrive", caller, self.name(message_id), (depth, found), message_id)

    def _discard(self, caller: Consumer) -> None:
        message_id = self.dead(caller)
        found = message_id in self.model.dead(caller.mailbox)
        self.see("discard", caller, self.name(message_id), (found, found), message_id)

    def look(self, caller: Consumer) -> None:
        """Looks at everything, which shows what has happened to each message."""
        self._peek(caller)
        self._dead_letters(caller)

    def _peek(self, caller: Consumer) -> None:
        waiting = [self.record(m, MessageStatus.QUEUED) for m in self.model.queued(caller.mailbox)]
        records = waiting + [self.record(m) for m in self.model.inflight(caller.mailbox)]
        shown = [[self.name(record.id), record.delivery_count] for record in records]
        self.see("peek", caller, None, (shown, records), _EVERYTHING)

    def _promote(self, caller: Consumer) -> None:
        delayed = [message.id for message in self.model.queued(caller.mailbox) if message.delay]
        ids = None if self.rng.random() < 0.3 else [*self.rng.sample(delayed, len(delayed) // 2), self.some(caller)]
        count = len(delayed) if ids is None else len(set(ids) & set(delayed))
        names = None if ids is None else [self.name(message_id) for message_id in ids]
        self.see("promote", caller, names, (count, count), ids)

    def _purge(self, caller: Consumer) -> None:
        count = len(self.model.queued(caller.mailbox))
        self.see("purge", caller, None, (count, count))

    def _close(self, caller: Consumer) -> None:
        self.leave(caller, "close")

    def _die(self, caller: Consumer) -> None:
        self.leave(caller, "die")

    def _let_time_pass(self, caller: Consumer) -> None:
        self.see("let_time_pass", caller, None, (None, None))

    def _open(self, caller: Consumer) -> None:
        if len(self.consumers) < 4:
            self.open(self.rng.choice(MAILBOXES))

    # -- which message -------------------------------------------------------------------------------------------------

    def some(self, caller: Consumer) -> UUID:
        """Mostly one that the caller holds; otherwise one of its mailbox, or any."""
        mine = [message.id for message in self.model.held_by(caller)]
        there = list(self.model.of(caller.mailbox))
        for ids, chance in (mine, 0.85), (there, 0.7):
            if ids and self.rng.random() < chance:
                return self.rng.choice(ids)
        return self.rng.choice(list(self._names) or [self.new_id("c")])

    def dead(self, caller: Consumer) -> UUID:
        dead = list(self.model.dead(caller.mailbox))
        return self.rng.choice(dead) if dead and self.rng.random() < 0.8 else self.some(caller)

    def holds(self, caller: Consumer, message_id: UUID) -> bool:
        return any(message.id == message_id for message in self.model.held_by(caller))


_WEIGHTS: Final = {
    "enqueue_many": 14,
    "dequeue": 16,
    "ack_many": 8,
    "ack_and_send": 4,
    "nack": 10,
    "dead_letter": 3,
    "dead_letters": 3,
    "redrive": 4,
    "discard": 2,
    "peek": 6,
    "promote": 2,
    "purge": 1,
    "close": 2,
    "die": 6,
    "let_time_pass": 4,
    "open": 4,
}


def traces() -> Iterator[list[list[Any]]]:
    for number in range(TRACES):
        trace = Trace(random.Random(SEED * 1000 + number))
        for _ in range(2):
            trace.enqueue_some()
        for _ in range(STEPS):
            trace.step()
        for mailbox in MAILBOXES:
            trace.look(next(consumer for consumer in trace.consumers if consumer.mailbox == mailbox))
        yield trace.steps


def text() -> str:
    """The file, with one line for each step."""
    blocks = [",\n".join(map(_line, trace)) for trace in traces()]
    return "[\n" + ",\n".join(f" [\n{block}\n ]" for block in blocks) + "\n]\n"


def _line(step: list[Any]) -> str:
    return "  " + json.dumps(step, ensure_ascii=False, separators=(",", ":"))


def main() -> None:
    PATH.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
