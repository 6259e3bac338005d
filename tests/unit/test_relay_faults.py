"""Relays that fail, are cancelled and die at random, in any step: each message arrives once, and in its order.

``PYMAILBOX_RELAYS=1000 pytest tests/unit/test_relay_faults.py`` plays that many rounds.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest

from pymailbox import (
    Mailbox,
    MailboxClosedError,
    MessagePriority,
    MessageStatus,
    Relayer,
    RetryPolicy,
    open_mailbox,
    relay,
)
from pymailbox.relaying import loop
from pymailbox.testing import Fault, FaultKind, FaultyMailbox, HolderDied
from pymailbox.testing._expect import eventually

ROUNDS = int(os.environ.get("PYMAILBOX_RELAYS", "16"))
COUNT = 60
LIVES = 12
"""Relays one after the other with faults; then one without."""

LOST = (FaultKind.LOST_BEFORE, FaultKind.LOST_AFTER)
DEATHS = (FaultKind.DEATH_BEFORE, FaultKind.DEATH_AFTER)
AT_SOURCE = [
    # a claim whose answer is lost leaves its messages with the handle, and later ones overtake them
    *((kind, verb) for verb in ("dequeue", "ack_many") for kind in (FaultKind.LOST_BEFORE, *DEATHS)),
    *((kind, verb) for verb in ("get", "recover") for kind in (*LOST, *DEATHS)),
]
BESIDE = [(kind, verb) for verb in ("ack_and_send", "dequeue", "enqueue", "recover") for kind in (*LOST, *DEATHS)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOOK_EVERY", 0.002)
    monkeypatch.setattr(logging.getLogger("pymailbox"), "disabled", True)


class Way:
    """From a source to a target: who sends, who relays, and who judges what is handled."""

    def __init__(self, source: str, target: str, random: Random) -> None:
        self.source = source
        self.target = target
        self.random = random
        self.handled: dict[MessagePriority, list[int]] = {priority: [] for priority in MessagePriority}

    async def fill(self) -> None:
        async with open_mailbox(self.source) as mailbox:
            for number in range(COUNT):
                await mailbox.enqueue(b"", b"%d" % number, self.random.choice(list(MessagePriority)))
                await asyncio.sleep(self.random.choice((0, 0, 0.002)))

    async def handle(self) -> None:
        """Acknowledges everything at once, so that no id in the target stops a repeat."""
        with suppress(MailboxClosedError):
            async with open_mailbox(self.target) as mailbox:
                while True:
                    for record in await mailbox.dequeue(wait=60.0):
                        self.handled[record.priority].append(int(record.payload))
                        await mailbox.ack(record.id)

    async def relay_for_a_while(self, faulty: bool) -> None:
        random = self.random
        sources, targets = (self._faults(kinds) if faulty else [] for kinds in (AT_SOURCE, BESIDE))
        source = FaultyMailbox(await open_mailbox(self.source), sources)
        target = FaultyMailbox(await open_mailbox(self.target), beside=targets)
        policy = RetryPolicy(first_delay=0.001, longest_delay=0.004)
        one = relay(source, target, batch=random.choice((1, 3, 7, 100)), retry=policy)
        task = asyncio.ensure_future(one)
        try:
            if faulty:
                await self._disturb(task, one, source)
            else:
                await eventually(partial(self._nothing_waits, one), True, "whether nothing waits any more")
                one.stop()
        finally:
            task.cancel()
            await asyncio.wait([task])
            with suppress(asyncio.CancelledError, HolderDied, MailboxClosedError):
                task.result()
            await _end(random, source, target)

    def _faults(self, kinds: list[tuple[FaultKind, str]]) -> list[Fault]:
        random = self.random
        some = [random.choice(kinds) for _ in range(3)]
        return [Fault(kind, verb, nth=random.randrange(1, 8), times=random.randrange(1, 3)) for kind, verb in some]

    async def _disturb(self, task: asyncio.Task[None], one: Relayer, source: FaultyMailbox) -> None:
        """Lets it work for a moment, and then stops it, or cancels it in whatever it is doing."""
        for _ in range(self.random.randrange(60)):
            if task.done():
                return
            if self.random.random() < 0.05:
                await self._take_back(source)
            await asyncio.sleep(self.random.choice((0, 0, 0.001)))
        for _ in range(self.random.randrange(3)):
            task.cancel()
            for _ in range(5):  # or it counts as the same cancellation
                await asyncio.sleep(0)
        if self.random.random() < 0.5:
            one.stop()
            await asyncio.wait([task], timeout=0.01)

    async def _take_back(self, source: FaultyMailbox) -> None:
        """What it holds goes back to the queue, as when a page is left for a moment."""
        handle = source._mailbox
        if handle is not None:
            with suppress(MailboxClosedError):
                held = await handle.peek(COUNT, status=MessageStatus.INFLIGHT)
                await handle._release([record.id for record in held])

    async def _nothing_waits(self, one: Relayer) -> bool:
        return (await one.status()).waiting == 0

    async def is_done(self) -> bool:
        async with open_mailbox(self.source) as source, open_mailbox(self.target) as target:
            left = [await mailbox.status() for mailbox in (source, target)]
        return all(not stats.queued_messages and not stats.inflight_messages for stats in left)

    def judge(self, in_order: bool) -> None:
        numbers = [number for handled in self.handled.values() for number in handled]
        assert sorted(numbers) == list(range(COUNT)), "lost or doubled"
        if in_order:
            assert all(handled == sorted(handled) for handled in self.handled.values()), self.handled


async def _end(random: Random, *mailboxes: Mailbox) -> None:
    """The end of a process: closed, or not."""
    dies = random.random() < 0.3
    for mailbox in mailboxes:
        if dies and isinstance(mailbox, FaultyMailbox):
            await mailbox.die()
        await mailbox.close()


async def play(ways: list[Way], at_once: int) -> None:
    handlers = [asyncio.ensure_future(way.handle()) for way in ways]
    senders = [asyncio.ensure_future(way.fill()) for way in ways]
    try:
        for _ in range(LIVES // at_once):
            await asyncio.gather(*(way.relay_for_a_while(True) for way in ways for _ in range(at_once)))
        await asyncio.gather(*senders)
        await asyncio.gather(*(way.relay_for_a_while(False) for way in ways))
        for way in ways:
            await eventually(way.is_done, True, "whether all is handled")
    finally:
        for task in (*handlers, *senders):
            task.cancel()
        await asyncio.wait([*handlers, *senders])
    for way in ways:
        way.judge(in_order=at_once == 1)


def place(kind: str, tmp_path: Path) -> str:
    """The beginning of a location, in a database of its own for SQLite."""
    return f"memory://{uuid4()}-" if kind == "memory" else f"sqlite:///{tmp_path / uuid4().hex}.db#"


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_each_message_arrives_once_in_memory(seed: int, at_once: int) -> None:
    random = Random(seed)
    here, there = f"memory://{uuid4()}-", f"memory://{uuid4()}-"
    ways = [Way(f"{here}out", f"{there}in", random)]
    if seed % 2:  # both directions at once
        ways.append(Way(f"{there}out", f"{here}in", random))
    await play(ways, at_once)


@pytest.mark.parametrize("seed", range(-(-ROUNDS // 10)))
async def test_each_message_arrives_once_between_files(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    here, there = place("sqlite", tmp_path), place(random.choice(["sqlite", "memory"]), tmp_path)
    await play([Way(f"{here}out", f"{there}in", random), Way(f"{there}out", f"{here}in", random)], 1)
