"""A process with a handle on a mailbox. It does what it is told on its standard input, a command a line, in JSON, and
answers each. Any version of Python runs it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast
from uuid import uuid4

from pymailbox import MailboxError, MessagePriority, NewMessage, open_mailbox
from pymailbox.backends.jetstream import JetStreamMailbox, snapshots

LARGE = 1_500_000
"""Bytes that do not fit into one message of the stream."""


class Companion:
    """The commands."""

    def __init__(self, mailbox: JetStreamMailbox) -> None:
        self._mailbox = mailbox
        self._link = mailbox._link
        self._held: list[Any] = []

    async def work(self, seed: int, steps: int) -> dict[str, Any]:
        """Do random things; which messages it has stored, and which it has settled for good."""
        chance, mailbox = random.Random(seed), self._mailbox
        sent: list[str] = []
        settled: list[str] = []
        for step in range(steps):
            await chance.choice((self._send, self._send, self._take, self._settle))(chance, sent, settled)
            if step % 20 == 7:
                await mailbox.enqueue(b"large", bytes(LARGE), message_id=(large := uuid4()))
                sent.append(str(large))
        await mailbox.status()
        return {"sent": sent, "settled": settled}

    async def _send(self, chance: random.Random, sent: list[str], _: list[str]) -> None:
        batch = [
            NewMessage(
                chance.choice((b"alice", b"bob", b"")),
                bytes(chance.randrange(2000)),
                chance.choice(list(MessagePriority)),
                uuid4(),
                chance.choice((None, None, 0.2, 1)),
                chance.choice((None, {"content-type": "text/plain"})),
                chance.choice((None, 60)),
            )
            for _ in range(chance.randrange(1, 8))
        ]
        sent += map(str, await self._mailbox.enqueue_many(batch))

    async def _take(self, chance: random.Random, *_: list[str]) -> None:
        self._held += await self._mailbox.dequeue(chance.randrange(1, 6))

    async def _settle(self, chance: random.Random, sent: list[str], settled: list[str]) -> None:
        mailbox = self._mailbox
        if not self._held:
            return
        record = self._held.pop(chance.randrange(len(self._held)))
        match chance.randrange(5):
            case 0:
                await mailbox.nack(record.id, delay=chance.choice((None, 0.1)), error="ärgerlich: it failed")
            case 1:
                if await mailbox.dead_letter(record.id, "no good") and chance.random() < 0.5:
                    await mailbox.redrive(record.id)
            case 2:
                new = uuid4()
                if await mailbox.ack_and_send(record.id, [(mailbox, NewMessage(b"", b"sent on", message_id=new))]):
                    settled.append(str(record.id))
                    sent.append(str(new))
            case _:
                if await mailbox.ack(record.id):
                    settled.append(str(record.id))

    async def state(self) -> list[Any]:
        """The number of the last message heard, and its state then in hexadecimal, without committing anything."""
        log = self._mailbox._replica.log
        return [log.seq, snapshots.encode(log).hex()]

    async def last(self) -> int:
        """The number of the stream's last message."""
        there = await self._link.api(f"STREAM.INFO.{self._link.stream}")
        last: int = there["state"]["last_seq"]
        return last

    async def snapshot(self) -> None:
        """Write one, and purge what is settled."""
        await self._mailbox._replica.write_snapshot()

    async def shrink(self) -> None:
        """From now on even a small snapshot has parts."""
        self._link.largest = 400

    async def die_at(self, text: str, count: int, after: bool) -> None:
        """End by SIGKILL where the `count`th request goes out whose subject has `text` in it, before or after that."""
        left = count
        start = self._link.start

        async def fatal(subject: str, *arguments: Any) -> Any:
            nonlocal left
            left -= text in subject
            last = left <= 0 and text in subject
            started = await start(subject, *arguments) if after or not last else None
            if last:
                if started is not None:
                    await started[1]
                os.kill(os.getpid(), signal.SIGKILL)
            return started

        cast(Any, self._link).start = fatal

    async def take(self, seconds: float) -> list[str]:
        """Wait for a message and acknowledge it; its payload."""
        records = await self._mailbox.dequeue(1, wait=seconds)
        await self._mailbox.ack_many(record.id for record in records)
        return [record.payload.decode() for record in records]

    async def let_go(self) -> None:
        """Give back what it holds."""
        while self._held:
            await self._mailbox.nack(self._held.pop().id, failed=False)

    async def drain(self) -> list[str]:
        """Take out all there is; their ids."""
        taken: list[str] = []
        while records := await self._mailbox.dequeue(100, wait=4):
            taken += [str(record.id) for record in records]
            await self._mailbox.ack_many(record.id for record in records)
        letters = await self._mailbox.dead_letters(10_000)
        return [*taken, *(str(letter.record.id) for letter in letters)]


def tell(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def main(location: str, lease: float) -> None:
    lines = asyncio.StreamReader(limit=1 << 24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with open_mailbox(location, lease=lease) as mailbox:
        assert isinstance(mailbox, JetStreamMailbox)
        companion = Companion(mailbox)
        await mailbox.status()
        tell(list(sys.version_info[:2]))
        while line := await lines.readline():
            name, *arguments = json.loads(line)
            command: Callable[..., Awaitable[Any]] = getattr(companion, name)
            tell(await command(*arguments))


if __name__ == "__main__":
    with suppress(MailboxError, KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], float(sys.argv[2])))
