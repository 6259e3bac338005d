"""The rules of ``pymailbox.core`` are deterministic. What they are, the conformance suite says."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from pymailbox import MessagePriority, MessageStatus, core
from pymailbox.backends.memory.store import Store
from pymailbox.contract.archive import Death, WholeMessage
from pymailbox.contract.arguments import PreparedMessage
from pymailbox.contract.headers import pack_headers
from pymailbox.core import archive, claiming, dead_letters, verbs
from pymailbox.core.state import MailboxState
from pymailbox.core.store import Holder

PAYLOAD = b"payload"

NOT_THE_CORES = {"asyncio", "os", "random", "secrets", "sqlite3", "threading", "time"}
"""A clock, chance, a system, and waiters."""


class Replica:
    """A mailbox to which commits are applied, at their times."""

    def __init__(self) -> None:
        self.store = Store()
        self.store.state = MailboxState(page_numbers=8)
        self.store.id_base = 0x8 << 76 | 0b10 << 62
        self.holders = [Holder(number, max_deliveries) for number, max_deliveries in ((7, None), (8, 1), (9, 3))]

    def restart(self) -> None:
        head = self.store.state.snapshot()
        assert PAYLOAD not in head
        self.store.state = MailboxState.unpack(head)

    def apply(self, seed: int, now: int) -> object:
        """One commit, drawn from a seed; returns its result."""
        chance, store = random.Random(seed), self.store
        holder = chance.choice(self.holders)
        held = [
            record.id
            for record in store.bodies.records(store.state.first_inflight(50), store.id_base, MessageStatus.INFLIGHT)
        ]
        dead = [letter.record.id for letter in dead_letters.list_dead_letters(store, 50, 0)]
        some = chance.choice([*held, UUID(int=chance.randrange(20))])
        other = chance.choice([*dead, some])
        messages = [
            PreparedMessage(
                b"",
                PAYLOAD,
                chance.choice(list(MessagePriority)),
                chance.choice([None, None, UUID(int=chance.randrange(20)), UUID(int=store.id_base + 3)]),
                chance.choice([0, 0, 30]),
                chance.choice([b"", b"", pack_headers({"name": "text"})]),
                chance.choice([0, 40]),
            )
            for _ in range(chance.choice([1, 3, 20]))
        ]
        whole = WholeMessage(
            UUID(int=99), b"", PAYLOAD, MessagePriority.HIGH, 1, 2, due=now + 9, failures=1, error="no"
        )
        died = WholeMessage(UUID(int=98), b"", PAYLOAD, MessagePriority.NORMAL, 1, 2, death=Death("why", 3))
        steps: list[Callable[[], object]] = [
            lambda: verbs.enqueue(store, messages, now),
            lambda: verbs.enqueue(store, messages, now),
            lambda: claiming.claim(store, holder, chance.choice([1, 2, 30]), now),
            lambda: verbs.ack(store, chance.sample(held, len(held) // 2)),
            lambda: verbs.ack_held(store, holder.number, [some]),
            lambda: claiming.nack(
                store, holder, some, chance.choice([0, 20]), chance.choice([None, "no"]), chance.random() < 0.7, now
            ),
            lambda: verbs.promote(store, chance.choice([None, [some, other]]), now),
            lambda: claiming.bury_held(store, holder.number, some, "why", now),
            lambda: claiming.release(store, holder.number, held[:3]),
            lambda: claiming.release_all(store, holder.number),
            lambda: claiming.recover_from(store, holder.number, now),
            lambda: dead_letters.redrive(store, other),
            lambda: dead_letters.discard(store, other),
            lambda: archive.adopt(store, [whole, died], now),
        ]
        return verbs.purge(store) if chance.random() < 0.01 else chance.choice(steps)()

    def seen(self, now: int) -> object:
        """Everything that callers can see."""
        return (
            verbs.count(self.store, now),
            verbs.peek(self.store, 1000, None, 0, now),
            dead_letters.list_dead_letters(self.store, 1000, 0),
            archive.read_remembered(self.store, None),
            [archive.read_section(self.store, section, 0, None) for section in (*MessagePriority, None)],
            self.store.state.next_due,
        )


def test_the_core_knows_no_clock_no_chance_and_no_backend() -> None:
    for path in Path(core.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert not NOT_THE_CORES & {name.name for name in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                module = node.module or ""
                assert module.partition(".")[0] not in NOT_THE_CORES | {"backends", "runtime"}, path
                assert node.level <= 2, path


@pytest.mark.parametrize("seed", range(5))
def test_replicas_that_apply_the_same_commits_come_to_the_same(seed: int) -> None:
    """One is looked at all the time, and one continues from a snapshot now and then."""
    chance = random.Random(seed)
    plain, looked_at, restarted = replicas = Replica(), Replica(), Replica()
    now = 1000
    for _ in range(200):
        now += chance.randrange(10)
        commit = chance.randrange(1 << 30)
        given = [replica.apply(commit, now) for replica in replicas]
        assert given[0] == given[1] == given[2]
        assert plain.store.state.next_due == looked_at.store.state.next_due == restarted.store.state.next_due
        looked_at.seen(now + 5)
        if chance.random() < 0.1:
            restarted.restart()
    assert plain.seen(now) == looked_at.seen(now) == restarted.seen(now)
    assert plain.store.state.snapshot() == looked_at.store.state.snapshot() == restarted.store.state.snapshot()
