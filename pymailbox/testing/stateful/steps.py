"""What may happen in a program."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple
from uuid import UUID

from ...contract.capabilities import Capability
from ...contract.errors import MailboxClosedError
from ...contract.values import MessageRecord
from .._expect import PATIENCE
from ..model import SOON, DisagreementError, Seen
from .program import MAILBOXES, Call, Handle, Program
from .text import brief
from .verbs import enqueue, random_call

MOST_HANDLES: Final = 4

SHORT_DELAY: Final = 0.02
"""Seconds that a program waits for."""

CLOCK_SLACK: Final = 0.01
"""Seconds by which two clocks of one machine may differ."""


WATCHED_STEP: Final = 30
"""In this step of a program a call is watched, if it has one: each takes a moment."""


async def _one_call(program: Program) -> None:
    call = random_call(program, program.handle())
    if program.step == WATCHED_STEP and call.handle.can(Capability.CHANGES):
        await _watched_call(program, call)
    else:
        await program.call(call)


async def _watched_call(program: Program, call: Call) -> None:
    """Who watches the counts sees what a call makes of them, whoever makes it."""
    mailbox = call.handle.consumer.mailbox
    others = [other for other in program.handles if other is not call.handle and other.consumer.mailbox == mailbox]
    watcher = [*others, call.handle][0]
    states = watcher.mailbox.changes()
    try:
        async with asyncio.timeout(PATIENCE):
            seen = await anext(states)
        program.write(f"{watcher}.changes() -> {brief(seen)}")
        program.judge.see(Seen(watcher.consumer, "status", (), {}, seen))
        await program.call(call)
        while seen != await watcher.mailbox.status():
            async with asyncio.timeout(PATIENCE):
                seen = await anext(states)
            program.write(f"{watcher}.changes() -> {brief(seen)}")
        program.judge.see(Seen(watcher.consumer, "status", (), {}, seen))
    except TimeoutError as error:
        raise DisagreementError(f"{watcher} watched the counts and did not see the last state") from error
    finally:
        if (aclose := getattr(states, "aclose", None)) is not None:
            await aclose()


async def _calls_at_once(program: Program) -> None:
    calls = [
        random_call(program, program.handle(), but=("set_depth_observer",)) for _ in range(program.rng.randint(2, 4))
    ]
    if program.rng.random() < 0.2:
        leaving = calls[-1].handle
        if leaving.can(Capability.RELEASE):
            program.handles.remove(leaving)
            program.closed.append(leaving)
            calls.append(Call(leaving, "close"))
    await program.gather(calls)


async def _cancelled_dequeue(program: Program) -> None:
    """A dequeue, perhaps with acks, that is cancelled at any moment, even while it waits or just as a message comes."""
    handle = program.handle()
    consumer = handle.consumer
    wait = program.rng.choice([None, 0.001, math.inf])
    call = Call(handle, "dequeue", program.limit(handle), {} if wait is None else {"wait": wait})
    chance = program.rng.random()
    meanwhile = enqueue(program, program.handle()) if chance < 0.4 else None
    ids: set[UUID] = set()
    if chance > 0.7 and handle.can(Capability.ACK_MANY) and handle.mailbox._acks_with_claims:
        ids = {program.id_to_ack(handle) for _ in range(program.rng.randint(1, 5))}
        call.keywords["ack"] = sorted(ids)
    patience = program.rng.randrange(6)
    task = asyncio.ensure_future(call.make())
    await _turns(patience)
    seen: list[Seen] = []
    if meanwhile is not None:
        answer = await meanwhile.make()
        program.write(f"{meanwhile} -> {brief(answer)}, during the next call")
        seen.append(meanwhile.seen(answer))
        program.remember_ids(meanwhile, answer)
        await _turns(program.rng.randrange(6))
    task.cancel()
    try:
        records: list[MessageRecord] = await task
    except asyncio.CancelledError:
        program.write(f"{call} cancelled after {patience} steps")
        there = len(ids & program.judge.model.of(consumer.mailbox).keys())
        if there:
            # all of its acknowledgements have happened, or none
            again = Call(handle, "ack_many", (sorted(ids),))
            removed = await again.make()
            program.write(f"{again} -> {removed}, to find out what that has acknowledged")
            program.judge.see(Seen(consumer, "ack_many", again.arguments, {}, there))
            if removed != there:
                program.judge.see(again.seen(removed))
    else:
        program.write(f"{call} cancelled too late, after {patience} steps -> {brief(records)}")
        seen.append(call.seen(records))
    if seen:
        program.judge.see(*seen)
    await _until_inflight_are(program, handle, len(program.judge.model.inflight(consumer.mailbox)))
    await program.call(Call(handle, "status"))
    if len(seen) == 2 and handle.can(Capability.PEEK):
        await program.look_around()


async def _loop_over_messages(program: Program) -> None:
    """A loop over ``messages()`` that is left within its first batch."""
    handle = program.handle()
    consumer = handle.consumer
    batch = program.judge.model.next_batch(consumer.mailbox, consumer.batch_size or 1)
    if not batch:
        return
    records: list[MessageRecord] = []
    wanted = program.rng.randint(1, len(batch))
    async for record in handle.mailbox.messages():
        records.append(record)
        if len(records) == wanted:
            break
    program.write(f"{handle}.messages() left after {brief(records)}")
    program.judge.see(Seen(consumer, "leave_messages", (), {}, records))
    await _until_inflight_are(program, handle, len(program.judge.model.inflight(consumer.mailbox)))
    await program.call(Call(handle, "status"))


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _until_inflight_are(program: Program, handle: Handle, wanted: int, *, recover: bool = False) -> int:
    """What a cancelled dequeue or a dead holder had may go back a moment later.

    Returns how many messages its own calls recovered.
    """
    recovered = 0
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while (await handle.mailbox.status()).inflight_messages != wanted:
        if asyncio.get_running_loop().time() > deadline:
            break
        if recover:
            recovered += await handle.mailbox.recover()
        else:
            await asyncio.sleep(0.002)
    return recovered


async def _death(program: Program) -> None:
    """A handle dies, or is collected without being closed, and what it held comes back when somebody recovers, opens a
    handle, or waits for it.
    """
    dying = program.handle()
    collected = dying.can(Capability.RELEASE) and program.rng.random() < 0.3
    mailbox = dying.consumer.mailbox
    held = program.judge.model.held_by(dying.consumer)
    others = [other for other in program.handles if other is not dying and other.consumer.mailbox == mailbox]
    waiting = None
    if others and not program.judge.model.ready(mailbox) and dying.can(Capability.WAIT) and program.rng.random() < 0.5:
        waiting = Call(program.rng.choice(others), "dequeue", program.limit(others[0]), {"wait": math.inf})
        task = asyncio.ensure_future(waiting.make())
        await asyncio.sleep(0.001)
    program.handles.remove(dying)
    mailboxes = [dying.mailbox]
    del dying.mailbox
    end = program.sandbox.let_be_collected if collected else program.sandbox.let_die
    await end(mailboxes)
    how = "was collected" if collected else "died"
    program.write(f"{dying} {how} with {brief([message.payload for message in held])}")
    program.judge.see(Seen(dying.consumer, "close" if collected else "die", (), {}, None))
    if waiting is not None:
        if not program.judge.model.ready(mailbox):
            # nothing came back that could be handed out
            await program.call(Call(waiting.handle, "enqueue", (b"", b"to end the wait")))
        answer = await task
        program.write(f"{waiting} waited through it -> {brief(answer)}")
        program.judge.see(waiting.seen(answer))
    watcher = others[0] if others else await program.open(mailbox)
    wanted = len(program.judge.model.inflight(mailbox))
    recover = program.rng.random() < 0.7 or waiting is not None
    if not recover:
        watcher = await program.open(mailbox)
    recovered = await _until_inflight_are(program, watcher, wanted, recover=True)
    if recovered > len(held):
        raise DisagreementError(f"{recovered} messages were recovered, but the holder that is gone had {len(held)}")
    await program.call(Call(watcher, "status"))


async def _short_delay(program: Program) -> None:
    """Something is delayed for a moment, and the program waits until it is due."""
    handle = program.handle()
    held = program.judge.model.held_by(handle.consumer)
    if held and handle.can(Capability.NACK) and program.rng.random() < 0.5:
        call = Call(handle, "nack", (program.rng.choice(held).id,), {"delay": SHORT_DELAY})
    else:
        call = Call(handle, "enqueue", (b"", program.payload(), program.priority()), {"delay": SHORT_DELAY})
    await program.call(call)
    called = time.time()
    await program.call(Call(handle, "status"))
    model = program.judge.model
    mailbox = handle.consumer.mailbox
    waits = not model.ready(mailbox) and any(0 < message.delay < SOON for message in model.queued(mailbox))
    passes = Seen(handle.consumer, "let_time_pass", (), {}, None)
    if waits:
        waiting = Call(handle, "dequeue", program.limit(handle), {"wait": PATIENCE})
        answer = await waiting.make()
        program.write(f"{waiting} -> {brief(answer)}")
        program.judge.see(passes)
        program.judge.see(waiting.seen(answer))
    else:
        await asyncio.sleep(called + SHORT_DELAY + CLOCK_SLACK - time.time())
        program.write("the short delay is over")
        program.judge.see(passes)


async def _open(program: Program) -> None:
    mailbox = program.rng.choice(MAILBOXES)
    options: dict[str, Any] = {}
    if program.rng.random() < 0.5:
        options["batch_size"] = program.rng.randint(1, 60)
    if program.rng.random() < 0.5 and program.dead_letters_are_possible:
        options["max_deliveries"] = program.rng.randint(1, 4)
    await program.open(mailbox, **options)


async def _close(program: Program) -> None:
    await program.close(program.handle())


async def _use_a_closed_handle(program: Program) -> None:
    call = random_call(program, program.rng.choice(program.closed))
    try:
        answer = await call.make()
    except MailboxClosedError:
        program.write(f"{call} raised MailboxClosedError")
    else:
        program.write(f"{call} -> {brief(answer)}")
        raise DisagreementError("a closed handle did not raise MailboxClosedError")


async def _torn_batch(program: Program) -> None:
    handle = program.handle()
    messages = [program.new_message(handle) for _ in range(program.rng.randint(1, 5))]

    def torn() -> Any:
        yield from messages
        raise ZeroDivisionError

    try:
        await handle.mailbox.enqueue_many(torn())
    except ZeroDivisionError:
        program.write(f"{handle}.enqueue_many({brief(messages)} and an error) passed the error on")
    else:
        raise DisagreementError("enqueue_many swallowed the error of its iterable")
    await program.call(Call(handle, "status"))


class StepKind(NamedTuple):
    """Something that may happen in a program."""

    take: Callable[[Program], Awaitable[None]]
    weight: int
    requires: frozenset[Capability] = frozenset()
    """Of the open handles."""
    fits: Callable[[Program], bool] = lambda program: bool(program.handles)

    def is_possible(self, program: Program) -> bool:
        return self.fits(program) and all(handle.can(*self.requires) for handle in program.handles)


STEPS: Final = (
    StepKind(_one_call, 60),
    # only a look at everything shows in which order simultaneous calls ran
    StepKind(_calls_at_once, 12, frozenset({Capability.PEEK})),
    StepKind(_cancelled_dequeue, 6, frozenset({Capability.RELEASE})),
    StepKind(_death, 4, frozenset({Capability.RECOVER})),
    StepKind(_short_delay, 2, frozenset({Capability.DELAY})),
    StepKind(_loop_over_messages, 3, frozenset({Capability.RELEASE})),
    StepKind(_torn_batch, 2, frozenset({Capability.ENQUEUE_MANY})),
    StepKind(_close, 5),
    StepKind(_use_a_closed_handle, 2, fits=lambda program: bool(program.closed)),
    StepKind(_open, 9, fits=lambda program: len(program.handles) < MOST_HANDLES),
)


async def take_a_step(program: Program) -> None:
    possible = [kind for kind in STEPS if kind.is_possible(program)]
    [kind] = program.rng.choices(possible, [kind.weight for kind in possible])
    await kind.take(program)
