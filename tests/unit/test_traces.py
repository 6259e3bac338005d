"""The core replays what callers did in ``tests/traces.json``, with the same answers and counts."""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import UUID

import pytest

from pymailbox import MessagePriority, MessageRecord
from pymailbox.backends.memory.store import Store
from pymailbox.contract.arguments import PreparedMessage
from pymailbox.core import claiming, dead_letters, verbs
from pymailbox.core.state import MailboxState
from pymailbox.core.store import Holder
from tools import traces

Step = tuple[str, str, Any, Any, list[list[int]]]
TRACES: Final[list[list[Step]]] = json.loads(traces.PATH.read_text("utf-8"))

EVERYTHING: Final = 1000


class Database:
    """Both mailboxes of a trace, kept by the core."""

    def __init__(self, page_numbers: int) -> None:
        self.now = 1000
        self.ids: dict[str, UUID] = {}
        self.names: dict[UUID, str] = {}
        self.holders: dict[str, Holder] = {}
        self.stores = {mailbox: Store() for mailbox in traces.MAILBOXES}
        for store in self.stores.values():
            store.state = MailboxState(page_numbers=page_numbers)

    def restart(self) -> None:
        for store in self.stores.values():
            store.state = MailboxState.unpack(store.state.snapshot())

    def counts(self) -> list[list[int | None]]:
        both = [verbs.count(self.stores[mailbox], self.now) for mailbox in traces.MAILBOXES]
        return [
            [
                *map(stats.queued_by_priority.get, MessagePriority),
                stats.inflight_messages,
                stats.dead_letters,
                stats.delayed_messages,
            ]
            for stats in both
        ]

    def id(self, name: str) -> UUID:
        """The id of a message; one that no mailbox has made yet is its sender's."""
        if name not in self.ids:
            self.know(name, UUID(int=int(name[1:])))
        return self.ids[name]

    def know(self, name: str, message_id: UUID) -> None:
        self.ids[name] = message_id
        self.names[message_id] = name

    def enqueue(self, store: Store, messages: list[Any]) -> int | None:
        """What the observer is told."""
        prepared = [
            PreparedMessage(
                b"", b"", MessagePriority(priority), self.id(name) if given else None, round((delay or 0) * 1000)
            )
            for name, priority, delay, given in messages
        ]
        ids, depth = verbs.enqueue(store, prepared, self.now)
        for message_id, (name, _, _, given) in zip(ids, messages, strict=True):
            if given:
                assert message_id == self.id(name)
            else:
                self.know(name, message_id)
        return depth

    def shown(self, records: list[MessageRecord]) -> list[list[Any]]:
        return [[self.names[record.id], record.delivery_count] for record in records]

    def answer(self, what: str, who: str, given: Any) -> Any:
        """Takes a step."""
        store = self.stores[who[0]]
        if what == "open":
            self.holders[who] = Holder(len(self.holders) + 1, given)
            return None
        holder = self.holders[who]
        match what:
            case "enqueue_many":
                return self.enqueue(store, given)
            case "dequeue":
                limit, acked = given
                verbs.ack(store, [self.id(name) for name in acked])
                return self.shown(claiming.claim(store, holder, limit, self.now))
            case "ack_many":
                return verbs.ack(store, [self.id(name) for name in given])
            case "ack_and_send":
                name, sends = given
                if not verbs.ack_held(store, holder.number, [self.id(name)]):
                    return False
                for target, *message in sends:
                    self.enqueue(self.stores[target], [message])
                return True
            case "nack":
                name, delay, error, failed = given
                delay_ms = round((delay or 0) * 1000)
                return bool(claiming.nack(store, holder, self.id(name), delay_ms, error, failed, self.now))
            case "dead_letter":
                name, reason = given
                return claiming.bury_held(store, holder.number, self.id(name), reason, self.now)
            case "dead_letters":
                return [
                    [self.names[letter.record.id], letter.record.delivery_count, letter.error, letter.reason]
                    for letter in dead_letters.list_dead_letters(store, EVERYTHING, 0)
                ]
            case "redrive":
                return dead_letters.redrive(store, self.id(given))
            case "discard":
                return dead_letters.discard(store, self.id(given))
            case "peek":
                return self.shown(verbs.peek(store, EVERYTHING, None, 0, self.now))
            case "promote":
                return verbs.promote(store, None if given is None else [self.id(name) for name in given], self.now)
            case "purge":
                return verbs.purge(store)
            case "close":
                claiming.release_all(store, holder.number)
            case "die":
                claiming.recover_from(store, holder.number, self.now)
            case "let_time_pass":
                self.now += 1000
            case _:
                pytest.fail(f"nobody knows {what}")
        return None


def grouped(actual: list[list[Any]], groups: list[list[list[Any]]]) -> list[list[list[Any]]]:
    """Dead letters as in a trace: those that died together sorted by name, without the core's own wording."""
    left = list(actual)
    found = []
    for group in groups:
        together, left = sorted(left[: len(group)]), left[len(group) :]
        for letter, wanted in zip(together, group, strict=False):
            if wanted[3] is None:
                assert letter[3]
                letter[3] = None
        found.append(together)
    return [*found, left] if left else found


def test_the_file_is_what_the_tool_writes() -> None:
    assert traces.PATH.read_text("utf-8") == traces.text(), "run: make generated"


@pytest.mark.parametrize("page_numbers", [1, 4, 128])
@pytest.mark.parametrize("number", range(len(TRACES)))
def test_the_core_answers_and_counts_as_callers_were_told(number: int, page_numbers: int) -> None:
    database = Database(page_numbers)
    for at, (what, who, given, answer, counts) in enumerate(TRACES[number]):
        where = f"step {at}: {what} of {who}"
        actual = database.answer(what, who, given)
        assert (grouped(actual, answer) if what == "dead_letters" else actual) == answer, where
        assert database.counts() == counts, where
        database.restart()
