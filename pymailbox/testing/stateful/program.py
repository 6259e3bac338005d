"""A running program: its random numbers, its handles, its judge, and its lines so far."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import UUID

from ...contract.capabilities import Capability
from ...contract.mailbox import Mailbox
from ...contract.values import MessagePriority, NewMessage
from .._sandbox import Sandbox
from .._suite import takes_limit
from ..model import Consumer, DisagreementError, Judge, ModelMessage, Seen
from .text import brief

MAILBOXES: Final = ("a", "b")

EVERYTHING: Final = 1_000_000
"""A limit above any backlog."""

LONG_DELAY: Final = 1000.0
"""Seconds between two long delays: longer than any program runs, so that messages of later calls are not due
earlier."""


@dataclass(eq=False)
class Handle:
    """An open handle, with what the program knows about it."""

    mailbox: Mailbox
    consumer: Consumer
    depths: list[int] = field(default_factory=list)
    """What its observer was told."""
    listening: bool = False

    def on_depth_change(self, queued_messages: int) -> None:
        self.depths.append(queued_messages)

    def can(self, *capabilities: Capability) -> bool:
        return self.mailbox.capabilities.issuperset(capabilities)

    def __repr__(self) -> str:
        return self.consumer.name


class Call(NamedTuple):
    """A call to be made."""

    handle: Handle
    verb: str
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}  # noqa: RUF012  never changed

    async def make(self) -> Any:
        arguments = self.arguments
        if self.verb == "ack_and_send":
            message_id, sends = arguments
            arguments = (message_id, [(target.mailbox, message) for target, message in sends])
        answer = getattr(self.handle.mailbox, self.verb)(*arguments, **self.keywords)
        return answer if self.verb == "set_depth_observer" else await answer

    def seen(self, answer: Any) -> Seen:
        arguments = self.arguments
        if self.verb == "ack_and_send":
            message_id, sends = arguments
            arguments = (message_id, [(target.consumer.mailbox, message) for target, message in sends])
        return Seen(self.handle.consumer, self.verb, arguments, self.keywords, answer)

    def __str__(self) -> str:
        words = [brief(argument) for argument in self.arguments]
        words += [f"{name}={brief(value)}" for name, value in self.keywords.items()]
        return f"{self.handle}.{self.verb}({', '.join(words)})"


class Program:
    """The state of a running program: its random numbers, its handles, its judge and its lines so far."""

    def __init__(self, sandbox: Sandbox, rng: random.Random) -> None:
        self.sandbox = sandbox
        self.rng = rng
        self.judge = Judge()
        self.handles: list[Handle] = []
        self.closed: list[Handle] = []
        self.lines: list[str] = []
        self.step = 0
        self._serial = 0
        self._opened = 0
        self._delays: set[float] = set()
        self._ids = [UUID(int=0), UUID(int=2**128 - 1), *(UUID(int=rng.getrandbits(128)) for _ in range(4))]

    def begin(self, step: int) -> None:
        self.step = step

    def write(self, line: str) -> None:
        self.lines.append(f"{self.step:3}  {line}")

    async def finish(self) -> None:
        """Closes every handle, then takes everything that is left and acks it."""
        self.write("the end: everything is taken")
        for handle in list(self.handles):
            await self.close(handle)
        for mailbox in MAILBOXES:
            handle = await self.open(mailbox)
            await self.call(Call(handle, "status"))
            if handle.can(Capability.DEAD_LETTERS):
                await self.call(Call(handle, "dead_letters", (EVERYTHING,)))
            taken = await self.call(Call(handle, "dequeue"))
            while taken:
                # not all one by one: that would be half of the calls of a program
                alone, together = taken[:1], [record.id for record in taken[1:]]
                if not handle.mailbox._acks_with_claims:
                    alone, together = taken, []
                for record in alone:
                    await self.call(Call(handle, "ack", (record.id,)))
                taken = await self.call(Call(handle, "dequeue", (), {"ack": together} if together else {}))
            await self.call(Call(handle, "status"))

    # -- what steps are made of ----------------------------------------------------------------------------------------

    async def open(self, mailbox: str, **options: Any) -> Handle:
        self._opened += 1
        name = f"{mailbox}{self._opened}"
        opened = await self.sandbox.open(f"-{mailbox}", **options)
        batch_size = options.get("batch_size", 32) if takes_limit(opened) else None
        handle = Handle(opened, Consumer(name, mailbox, batch_size, options.get("max_deliveries")))
        self.handles.append(handle)
        self.write(f"{name} = open({mailbox!r}, {options})" if options else f"{name} = open({mailbox!r})")
        return handle

    @property
    def dead_letters_are_possible(self) -> bool:
        return all(handle.can(Capability.DEAD_LETTERS) for handle in self.handles) and bool(self.handles)

    async def close(self, handle: Handle) -> None:
        self.handles.remove(handle)
        self.closed.append(handle)
        if handle.can(Capability.RELEASE):
            await self.call(Call(handle, "close"))
        else:
            self.write(f"{handle}.close()")
            await handle.mailbox.close()

    async def call(self, call: Call) -> Any:
        """Makes one call, and has it judged."""
        told_before = len(call.handle.depths)
        try:
            answer = await call.make()
        except Exception as error:
            self.write(f"{call} raised {error!r}")
            raise
        self.write(f"{call} -> {brief(answer)}")
        depth = self.judge.see(call.seen(answer))
        self.remember_ids(call, answer)
        told = call.handle.depths[told_before:]
        # enqueues of other handles may be reported too, a moment later, so the right depth may be among others
        if call.handle.listening and depth is not None and depth not in told:
            raise DisagreementError(f"the observer of {call.handle} should have been told {depth}, but was told {told}")
        return answer

    async def gather(self, calls: Sequence[Call]) -> None:
        """Makes calls at once, has them judged, and looks at the mailboxes to find out in which order they ran."""
        answers = await asyncio.gather(*(call.make() for call in calls), return_exceptions=True)
        for number, (call, answer) in enumerate(zip(calls, answers, strict=True)):
            self.write(f"{'at once: ' if number == 0 else '    and: '}{call} -> {brief(answer)}")
        for answer in answers:
            if isinstance(answer, asyncio.CancelledError):
                raise DisagreementError("a call ended with CancelledError, but nobody cancelled it")
            if isinstance(answer, BaseException):
                raise answer
        self.judge.see(*(call.seen(answer) for call, answer in zip(calls, answers, strict=True)))
        for call, answer in zip(calls, answers, strict=True):
            self.remember_ids(call, answer)
        await self.look_around()

    async def look_around(self) -> None:
        """Looks at everything, which shows in which order simultaneous calls ran."""
        for mailbox in MAILBOXES:
            watcher = await self.handle_on(mailbox)
            await self.call(Call(watcher, "peek", (EVERYTHING,)))
            if watcher.can(Capability.DEAD_LETTERS):
                await self.call(Call(watcher, "dead_letters", (EVERYTHING,)))

    async def handle_on(self, mailbox: str) -> Handle:
        """An open handle on the mailbox, a new one if there is none."""
        for handle in self.handles:
            if handle.consumer.mailbox == mailbox:
                return handle
        return await self.open(mailbox)

    def remember_ids(self, call: Call, answer: Any) -> None:
        if call.verb == "enqueue":
            self._ids.append(answer)
        elif call.verb == "enqueue_many":
            self._ids += answer[:3]

    # -- random values -------------------------------------------------------------------------------------------------

    def handle(self) -> Handle:
        return self.rng.choice(self.handles)

    def payload(self) -> bytes:
        """Nearly all different, with sizes on both sides of the limits at which backends may treat messages
        differently."""
        self._serial += 1
        if self.rng.random() < 0.04:
            return b""
        size = self.rng.choices([0, 100, 5_000, 50_000, 70_000], [60, 30, 6, 2, 2])[0]
        return b"#%d." % self._serial + bytes(size)

    def priority(self) -> MessagePriority:
        return self.rng.choices([MessagePriority.NORMAL, MessagePriority.HIGH], [3, 1])[0]

    def limit(self, handle: Handle) -> tuple[int, ...]:
        """The arguments of a ``dequeue`` or ``peek``: a limit, or none."""
        if not takes_limit(handle.mailbox):
            return ()
        return self.rng.choice([(), (1,), (2,), (5,), (self.rng.randint(1, 300),)])

    def message_id(self, handle: Handle) -> UUID | None:
        """Mostly none; otherwise one used before, one just after that, or a new one."""
        if not handle.can(Capability.MESSAGE_ID) or self.rng.random() < 0.6:
            return None
        known = self.rng.choice(self._ids)
        nearby = UUID(int=(known.int + self.rng.randint(1, 3)) % 2**128)
        return self.rng.choices([known, nearby, UUID(int=self.rng.getrandbits(128))], [6, 2, 1])[0]

    def delay(self, handle: Handle) -> float | None:
        """Mostly none; otherwise a long one that no other message of the program has, so that due times show the
        order."""
        if not handle.can(Capability.DELAY) or self.rng.random() < 0.93:
            return None
        delay = LONG_DELAY * self.rng.choice([n for n in range(1, len(self._delays) + 50) if n not in self._delays])
        self._delays.add(delay / LONG_DELAY)
        return delay

    def new_message(self, handle: Handle) -> NewMessage:
        sender = b"from %d" % self._serial
        payload, priority, message_id = self.payload(), self.priority(), self.message_id(handle)
        delay, headers = self.delay(handle), self.headers(handle)
        remembers = message_id is not None and handle.can(Capability.DEDUPE) and self.rng.random() < 0.4
        dedupe_for = LONG_DELAY * 1000 if remembers else None
        return NewMessage(sender, payload, priority, message_id, delay, headers, dedupe_for)

    def headers(self, handle: Handle) -> dict[str, str] | None:
        """Mostly none."""
        if not handle.can(Capability.HEADERS) or self.rng.random() < 0.7:
            return None
        texts = ["", "text", "é🙃", '"[\\', "x" * 300]
        return {self.rng.choice(texts): self.rng.choice(texts) for _ in range(self.rng.randint(0, 3))}

    def offset(self) -> dict[str, int]:
        """The keyword of a ``peek``, mostly none."""
        return {"offset": self.rng.randint(0, 20)} if self.rng.random() < 0.3 else {}

    def dead_id(self, handle: Handle) -> UUID:
        """Mostly a dead letter's; otherwise any that was seen."""
        dead = list(self.judge.model.dead(handle.consumer.mailbox))
        return self.rng.choice(dead if dead and self.rng.random() < 0.85 else self._ids)

    def id_to_ack(self, handle: Handle) -> UUID:
        """Mostly one that the handle holds; otherwise any in the mailbox, or one that may be gone."""
        there = list(self.judge.model.of(handle.consumer.mailbox).values())
        mine: list[ModelMessage] = self.judge.model.held_by(handle.consumer)
        choice = self.rng.random()
        if mine and choice < 0.7:
            return self.rng.choice(mine).id
        if there and choice < 0.85:
            return self.rng.choice(there).id
        return self.rng.choice(self._ids)
