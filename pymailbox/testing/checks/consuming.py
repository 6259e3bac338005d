"""``consume``: how a handler ends decides what happens to its message, and nothing is lost however the loop ends."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any
from uuid import uuid4

from ...actors import Consumer, Context, Retry, RetryPolicy
from ...contract.capabilities import Capability
from ...contract.errors import MailboxClosedError, Reject
from ...contract.mailbox import Mailbox
from ...contract.values import MessagePriority, MessageRecord, NewMessage
from .._expect import PATIENCE, eventually, expect, expect_equal, expect_error, expect_no_repeats
from .._sandbox import Sandbox, at_work, drain, numbered, payloads_of, send
from .._suite import check

AT_ONCE = RetryPolicy(first_delay=0.0)
MUCH_LATER = RetryPolicy(first_delay=1000.0, longest_delay=1000.0, jitter=0.0)


class OnPurposeError(Exception):
    """What handlers fail with here."""


def consuming(mailbox: Mailbox, handler: Any, **options: Any) -> AbstractAsyncContextManager[asyncio.Task[None]]:
    """A running consumer, which is stopped at the end; see ``at_work``."""
    return at_work(mailbox.consume(handler, **options), "consumer")


class _Work:
    """A handler that records what it gets, and continues when told to; quick messages it finishes at once."""

    def __init__(self, quick: Collection[bytes] = ()) -> None:
        self._quick = frozenset(quick)
        self.begun: list[bytes] = []
        self.ended: list[bytes] = []
        self.at_once = 0
        self.most_at_once = 0
        self._may_end = asyncio.Event()

    async def __call__(self, message: MessageRecord, context: Context) -> None:
        if message.payload in self._quick:
            return
        self.begun.append(message.payload)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self._may_end.wait()
            self.ended.append(message.payload)
        finally:
            self.at_once -= 1

    def let_end(self) -> None:
        self._may_end.set()

    async def has_begun(self, count: int) -> None:
        async def begun() -> int:
            return len(self.begun)

        await eventually(begun, count, "handlers that have begun")


async def _left(mailbox: Mailbox) -> tuple[int, int]:
    stats = await mailbox.status()
    return stats.queued_messages, stats.inflight_messages


async def all_handled(mailbox: Mailbox) -> None:
    await eventually(partial(_left, mailbox), (0, 0), "queued and inflight messages")


async def _length(values: list[Any]) -> int:
    return len(values)


# -- handlers that return ----------------------------------------------------------------------------------------------


@check()
async def check_handled_messages_are_acked(sandbox: Sandbox) -> None:
    """A handler gets each message once and in order, and its message is acknowledged when it has returned."""
    mailbox, sender = await sandbox.open(), await sandbox.open()
    await send(sender, numbered(40))
    seen: list[MessageRecord] = []

    async def handler(message: MessageRecord) -> None:
        await asyncio.sleep(0)
        seen.append(message)

    async with consuming(mailbox, handler):
        await all_handled(sender)
        await send(sender, numbered(5, "later"))
        await eventually(partial(_length, seen), 45, "handled messages")
        await all_handled(sender)
    expect_equal(payloads_of(seen), numbered(40) + numbered(5, "later"), "payloads")
    expect({record.delivery_count for record in seen} == {1}, "a delivery count is not 1")


@check()
async def check_handlers_of_every_kind(sandbox: Sandbox) -> None:
    """A handler may be async or not, and takes a message, or a message and its context."""
    seen: list[bytes] = []

    async def asynchronous(message: MessageRecord) -> None:
        seen.append(message.payload)

    async def with_context(message: MessageRecord, context: Context) -> None:
        seen.append(context.message.payload if context.message is message else b"another message")

    def synchronous(message: MessageRecord, context: Context) -> None:
        seen.append(message.payload if context.mailbox is mailbox else b"another mailbox")

    handlers: list[Any] = [asynchronous, with_context, synchronous, lambda message: seen.append(message.payload)]
    for number, handler in enumerate(handlers):
        mailbox = await sandbox.open(f"-{number}")
        await send(mailbox, numbered(3))
        async with consuming(mailbox, handler):
            await all_handled(mailbox)
        expect_equal(seen, numbered(3), f"payloads that handler {number} got")
        seen.clear()


@check()
async def check_default_of_a_handler_is_kept(sandbox: Sandbox) -> None:
    """A handler's second parameter keeps its default, unless it is named ``context``."""
    mailbox, seen = await sandbox.open(), list[str]()

    def with_a_default(message: MessageRecord, kept: str = "kept") -> None:
        seen.append(kept)

    def with_context_or_none(message: MessageRecord, context: Context | None = None) -> None:
        seen.append("no context" if context is None else "context")

    for handler in (with_a_default, with_context_or_none):
        await send(mailbox, numbered(1))
        async with consuming(mailbox, handler):
            await all_handled(mailbox)
    expect_equal(seen, ["kept", "context"], "what the handlers got")


@check()
async def check_high_priority_is_handled_first(sandbox: Sandbox) -> None:
    """A handler gets ``HIGH`` messages before ``NORMAL`` ones."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(3))
    await send(mailbox, numbered(3, "high"), priority=MessagePriority.HIGH)
    seen: list[bytes] = []
    async with consuming(mailbox, lambda message: seen.append(message.payload)):
        await all_handled(mailbox)
    expect_equal(seen, numbered(3, "high") + numbered(3), "payloads")


@check()
async def check_concurrency_is_kept(sandbox: Sandbox) -> None:
    """As many handlers run at the same time as were asked for, and no more."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(8))
    work = _Work()
    async with consuming(mailbox, work, concurrency=3):
        await work.has_begun(3)
        await asyncio.sleep(0.05)  # time for one too many
        expect_equal(work.begun, numbered(3), "handlers that have begun")
        work.let_end()
        await all_handled(mailbox)
    expect_equal(work.most_at_once, 3, "handlers at once")


@check()
async def check_consumers_share_a_mailbox(sandbox: Sandbox) -> None:
    """If several handles consume, each message is handled by one of them."""
    mailboxes = [await sandbox.open(batch_size=3) for _ in range(3)]
    await send(mailboxes[0], numbered(60))
    seen: list[bytes] = []

    async def handler(message: MessageRecord) -> None:
        await asyncio.sleep(0)
        seen.append(message.payload)

    async with consuming(mailboxes[0], handler), consuming(mailboxes[1], handler), consuming(mailboxes[2], handler):
        await all_handled(mailboxes[0])
    expect_equal(sorted(seen), sorted(numbered(60)), "payloads")


@check(Capability.ACK_AND_SEND)
async def check_sends_commit_with_the_ack(sandbox: Sandbox) -> None:
    """What a handler sends is there exactly when its own message is gone, in order and only once."""
    inbox, outbox = await sandbox.open("-in"), await sandbox.open("-out")
    await send(inbox, numbered(10))
    depths: list[int] = []

    async def handler(message: MessageRecord, context: Context) -> None:
        buffer = bytearray(message.payload)
        context.send(outbox, b"actor", buffer)
        buffer[:] = b"?" * len(buffer)
        context.send(outbox, b"actor", b"high " + message.payload, MessagePriority.HIGH)
        await inbox.status()  # time for a send that does not wait for the handler
        depths.append((await outbox.status()).queued_messages)

    async with consuming(inbox, handler):
        await all_handled(inbox)
    expect_equal(depths, list(range(0, 20, 2)), "what had been sent while a handler ran")
    sent = await drain(outbox)
    wanted = [b"high " + payload for payload in numbered(10)] + numbered(10)
    expect_equal(payloads_of(sent), wanted, "what was sent")
    expect({record.sender for record in sent} == {b"actor"}, "a sender is not the one that was given")


@check(Capability.ACK_AND_SEND, Capability.HEADERS)
async def check_sends_have_headers(sandbox: Sandbox) -> None:
    """What a handler sends has the headers that it was given, as they were at the call."""
    inbox, outbox = await sandbox.open("-in"), await sandbox.open("-out")
    await send(inbox, [b"work"])

    def handler(message: MessageRecord, context: Context) -> None:
        headers = {"trace": "1"}
        context.send(outbox, b"actor", b"answer", headers=headers)
        headers["trace"] = "2"

    async with consuming(inbox, handler):
        await all_handled(inbox)
    [sent] = await drain(outbox)
    expect_equal(dict(sent.headers), {"trace": "1"}, "headers")


@check(Capability.ACK_AND_SEND, Capability.NACK)
async def check_failed_handler_sends_nothing(sandbox: Sandbox) -> None:
    """Messages that a handler sent before it failed are not sent; the next attempt's are."""
    inbox, outbox = await sandbox.open("-in"), await sandbox.open("-out")
    await send(inbox, [b"work"])

    def handler(message: MessageRecord, context: Context) -> None:
        context.send(outbox, b"actor", b"attempt %d" % message.delivery_count)
        if message.delivery_count < 3:
            raise OnPurposeError

    async with consuming(inbox, handler, retry=AT_ONCE):
        await all_handled(inbox)
    expect_equal(payloads_of(await drain(outbox)), [b"attempt 3"], "what was sent")


# -- handlers that fail ------------------------------------------------------------------------------------------------


@check(Capability.NACK)
async def check_failed_message_comes_again(sandbox: Sandbox) -> None:
    """A message whose handler raised comes again, with the next delivery count, until it is handled."""
    mailbox = await sandbox.open()
    await send(mailbox, [b"good", b"bad", b"better"])
    seen: list[tuple[bytes, int]] = []

    async def handler(message: MessageRecord) -> None:
        seen.append((message.payload, message.delivery_count))
        if message.payload == b"bad" and message.delivery_count < 4:
            raise OnPurposeError

    async with consuming(mailbox, handler, retry=AT_ONCE):
        await all_handled(mailbox)
    expect_equal([count for payload, count in seen if payload == b"bad"], [1, 2, 3, 4], "deliveries of the bad one")
    expect_equal([one for one in seen if one[0] != b"bad"], [(b"good", 1), (b"better", 1)], "deliveries of the others")


@check(Capability.NACK, Capability.DELAY)
async def check_failed_message_waits_in_the_queue(sandbox: Sandbox) -> None:
    """Until a failed message is tried again it is queued, held by nobody, and blocks nothing."""
    mailbox = await sandbox.open()
    await send(mailbox, [b"bad", *numbered(4)])
    seen: list[bytes] = []

    def handler(message: MessageRecord) -> None:
        seen.append(message.payload)
        if message.payload == b"bad":
            raise OnPurposeError

    async with consuming(mailbox, handler, retry=MUCH_LATER):
        await eventually(partial(_left, mailbox), (1, 0), "queued and inflight messages")
    expect_equal(seen, [b"bad", *numbered(4)], "payloads")
    expect_equal(await drain(mailbox), [], "what may be handed out")


@check(Capability.NACK)
async def check_cancelled_error_of_a_handler_is_a_failure(sandbox: Sandbox) -> None:
    """A handler that ends with a ``CancelledError`` without being cancelled has failed; the consumer continues."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2))
    counts: list[int] = []

    async def handler(message: MessageRecord) -> None:
        counts.append(message.delivery_count)
        if message.delivery_count == 1:
            given_up = asyncio.get_running_loop().create_future()
            given_up.cancel()
            await given_up

    async with consuming(mailbox, handler, retry=AT_ONCE):
        await all_handled(mailbox)
    expect_equal(sorted(counts), [1, 1, 2, 2], "delivery counts")


@check(Capability.NACK, Capability.DEAD_LETTERS)
async def check_failures_end_with_a_dead_letter(sandbox: Sandbox) -> None:
    """After the mailbox's ``max_deliveries`` a failed message is a dead letter with its traceback; others continue."""
    mailbox = await sandbox.open(max_deliveries=3)
    await send(mailbox, [b"bad", b"good"])
    counts: list[int] = []

    async def fails_on_purpose(message: MessageRecord) -> None:
        if message.payload == b"bad":
            counts.append(message.delivery_count)
            raise OnPurposeError(f"number {message.delivery_count}")

    async with consuming(mailbox, fails_on_purpose, retry=AT_ONCE):
        await all_handled(mailbox)
    expect_equal(counts, [1, 2, 3], "delivery counts")
    [letter] = await mailbox.dead_letters()
    expect_equal((letter.record.payload, letter.record.delivery_count), (b"bad", 3), "the dead letter")
    for part in ("Traceback", "fails_on_purpose", "OnPurposeError: number 3"):
        expect(part in (letter.error or ""), f"the dead letter's error does not tell {part!r}: {letter.error}")


@check(Capability.NACK, Capability.DEAD_LETTERS)
async def check_policy_has_a_limit_of_its_own(sandbox: Sandbox) -> None:
    """After the retry policy's ``max_deliveries`` a failed message is a dead letter; its reason has the traceback."""
    mailbox = await sandbox.open()
    await send(mailbox, [b"bad"])
    counts: list[int] = []

    def fails_on_purpose(message: MessageRecord) -> None:
        counts.append(message.delivery_count)
        raise OnPurposeError(f"number {message.delivery_count}")

    async with consuming(mailbox, fails_on_purpose, retry=RetryPolicy(first_delay=0.0, max_deliveries=2)):
        await all_handled(mailbox)
    expect_equal(counts, [1, 2], "delivery counts")
    [letter] = await mailbox.dead_letters()
    for part in ("2 of at most 2 deliveries failed", "fails_on_purpose", "OnPurposeError: number 2"):
        expect(part in letter.reason, f"the dead letter's reason does not tell {part!r}: {letter.reason}")


@check(Capability.DEAD_LETTERS)
async def check_rejected_message_is_a_dead_letter_at_once(sandbox: Sandbox) -> None:
    """A message whose handler raises ``Reject`` is a dead letter at its first delivery, with the text as reason."""
    mailbox = await sandbox.open()
    await send(mailbox, [b"bad", b"good"])
    seen: list[bytes] = []

    def handler(message: MessageRecord) -> None:
        seen.append(message.payload)
        if message.payload == b"bad":
            raise Reject("no such command")

    async with consuming(mailbox, handler):
        await all_handled(mailbox)
    expect_equal(seen, [b"bad", b"good"], "payloads")
    [letter] = await mailbox.dead_letters()
    expect_equal((letter.record.payload, letter.reason), (b"bad", "no such command"), "the dead letter")


@check()
async def check_retry_comes_again_after_its_delay(sandbox: Sandbox) -> None:
    """A message whose handler raises ``Retry`` comes again after the delay that it names, or else the policy's."""
    counts: dict[bytes, list[int]] = {b"soon": [], b"later": [], b"by policy": []}
    delays = {b"soon": 0.0, b"later": 1000.0, b"by policy": None}

    async def handler(message: MessageRecord) -> None:
        counts[message.payload].append(message.delivery_count)
        if message.delivery_count < 3:
            raise Retry(delays[message.payload])

    mailbox = await sandbox.open()
    await send(mailbox, [b"soon", b"later", b"by policy"])
    async with consuming(mailbox, handler, retry=MUCH_LATER):
        await eventually(partial(_length, counts[b"soon"]), 3, "deliveries")
        await eventually(partial(_length, counts[b"by policy"]), 1, "deliveries")
        await asyncio.sleep(0.02)  # time for one that should not come yet
    expect_equal(counts, {b"soon": [1, 2, 3], b"later": [1], b"by policy": [1]}, "delivery counts")


@check(Capability.NACK, Capability.DEAD_LETTERS)
async def check_retry_is_a_failed_delivery(sandbox: Sandbox) -> None:
    """``Retry`` counts towards ``max_deliveries``; the dead letter's error says what went wrong."""
    mailbox = await sandbox.open(max_deliveries=3)
    await send(mailbox, [b"bad"])
    counts: list[int] = []

    def handler(message: MessageRecord) -> None:
        counts.append(message.delivery_count)
        raise Retry(0.0) from OnPurposeError("busy")

    async with consuming(mailbox, handler, retry=MUCH_LATER):
        await all_handled(mailbox)
    expect_equal(counts, [1, 2, 3], "delivery counts")
    [letter] = await mailbox.dead_letters()
    expect("OnPurposeError: busy" in (letter.error or ""), f"the dead letter's error does not tell why: {letter.error}")


@check()
async def check_retry_may_take_the_hand_out_back(sandbox: Sandbox) -> None:
    """``Retry(failed=False)`` is not a failed delivery: neither the delivery count nor the failures grow."""
    mailbox = await sandbox.open()
    if Capability.DEAD_LETTERS in mailbox.capabilities:
        mailbox = await sandbox.open(max_deliveries=2)
    await send(mailbox, [b"not now", b"good"])
    seen: list[tuple[bytes, int]] = []

    async def handler(message: MessageRecord) -> None:
        seen.append((message.payload, message.delivery_count))
        # the other may come at any time between
        if message.payload == b"not now" and sum(payload == b"not now" for payload, _ in seen) < 5:
            raise Retry(0.0, failed=False)

    async with consuming(mailbox, handler, retry=RetryPolicy(first_delay=0.0, max_deliveries=2)):
        await all_handled(mailbox)
    expect_equal(sorted(seen), [(b"good", 1)] + 5 * [(b"not now", 1)], "deliveries")
    if Capability.DEAD_LETTERS in mailbox.capabilities:
        expect_equal(await mailbox.dead_letters(), [], "dead letters")


@check(Capability.NACK, Capability.DELAY)
async def check_retry_waits_in_the_queue(sandbox: Sandbox) -> None:
    """Until a postponed message comes again it is queued, held by nobody, and not handed out."""
    mailbox = await sandbox.open()
    await send(mailbox, [b"not now", *numbered(4)])
    seen: list[bytes] = []

    def handler(message: MessageRecord) -> None:
        seen.append(message.payload)
        if message.payload == b"not now":
            raise Retry(1000.0, failed=False)

    async with consuming(mailbox, handler):
        await eventually(partial(_left, mailbox), (1, 0), "queued and inflight messages")
    expect_equal(seen, [b"not now", *numbered(4)], "payloads")
    expect_equal(await drain(mailbox), [], "what may be handed out")


@check()
async def check_retry_holds_back_its_sender(sandbox: Sandbox) -> None:
    """With ``ordered_by_sender`` a message postponed by ``Retry`` comes before later ones of its sender."""
    mailbox = await sandbox.open()
    for number in range(3):
        await mailbox.enqueue(b"anna", b"a%d" % number)
        await mailbox.enqueue(b"ben", b"b%d" % number)
    seen: list[bytes] = []
    put_off = {b"a0": 2, b"b1": 1}

    async def handler(message: MessageRecord) -> None:
        if put_off.get(message.payload):
            put_off[message.payload] -= 1
            raise Retry(0.001, failed=False)
        await asyncio.sleep(0)
        seen.append(message.payload)

    async with consuming(mailbox, handler, concurrency=2, ordered_by_sender=True):
        await all_handled(mailbox)
    for name in (b"a", b"b"):
        own = [payload for payload in seen if payload.startswith(name)]
        expect_equal(own, [b"%b%d" % (name, number) for number in range(3)], f"payloads of {name!r}")


# -- handlers that take too long ---------------------------------------------------------------------------------------


@check(Capability.NACK, Capability.DEAD_LETTERS)
async def check_timeout_is_a_failed_delivery(sandbox: Sandbox) -> None:
    """A handler that takes longer than ``timeout`` is cancelled: a failed delivery whose error says so."""
    mailbox = await sandbox.open(max_deliveries=2)
    await send(mailbox, [b"hangs", b"good"])
    cancelled: list[int] = []

    async def hangs_on_purpose(message: MessageRecord) -> None:
        if message.payload == b"hangs":
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                cancelled.append(message.delivery_count)
                raise

    async with consuming(mailbox, hangs_on_purpose, retry=AT_ONCE, timeout=0.02):
        await all_handled(mailbox)
    expect_equal(cancelled, [1, 2], "delivery counts of handlers that were cancelled")
    [letter] = await mailbox.dead_letters()
    for part in ("TimeoutError: the handler took longer than 0.02 s", "hangs_on_purpose"):
        expect(part in (letter.error or ""), f"the dead letter's error does not tell {part!r}: {letter.error}")


@check(Capability.NACK, Capability.DEAD_LETTERS)
async def check_timeout_of_the_handlers_own(sandbox: Sandbox) -> None:
    """A handler that raises a ``TimeoutError`` of its own has failed with that, and has not taken too long."""
    mailbox = await sandbox.open(max_deliveries=1)
    await send(mailbox, [b"raises", b"waits"])

    async def handler(message: MessageRecord) -> None:
        if message.payload == b"raises":
            raise TimeoutError("the server is slow")
        async with asyncio.timeout(0.01):
            await asyncio.get_running_loop().create_future()

    async with consuming(mailbox, handler, retry=AT_ONCE, timeout=1000.0):
        await all_handled(mailbox)
    letters = {letter.record.payload: letter.error or "" for letter in await mailbox.dead_letters()}
    expect_equal(sorted(letters), [b"raises", b"waits"], "dead letters")
    expect("the server is slow" in letters[b"raises"], f"the error is not the handler's: {letters[b'raises']}")
    for error in letters.values():
        expect("took longer than" not in error, f"the handler did not take too long: {error}")


@check(Capability.NACK)
async def check_timeout_waits_for_the_handlers_end(sandbox: Sandbox) -> None:
    """A cancelled handler that ends late, or normally, has failed, and its message comes again only after that."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(mailbox, [b"work"])
    log: list[str] = []
    cancelled, may_end = asyncio.Event(), asyncio.Event()

    async def handler(message: MessageRecord) -> None:
        log.append(f"begins {message.delivery_count}")
        if message.delivery_count == 1:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                cancelled.set()
            await may_end.wait()
            log.append("ends")

    async with consuming(mailbox, handler, concurrency=2, retry=AT_ONCE, timeout=0.02):
        await asyncio.wait_for(cancelled.wait(), PATIENCE)
        await asyncio.sleep(0.05)  # time for a second one
        expect_equal(await _left(other), (0, 1), "queued and inflight messages until the handler has ended")
        may_end.set()
        await all_handled(mailbox)
    expect_equal(log, ["begins 1", "ends", "begins 2"], "what the handlers did")


# -- handlers that settle their message themselves ---------------------------------------------------------------------


@check(Capability.NACK)
async def check_nack_by_hand_is_the_last_word(sandbox: Sandbox) -> None:
    """A message that its handler has nacked comes again, whether the handler then returns or raises."""
    mailbox = await sandbox.open()
    await send(mailbox, [b"returns", b"raises", b"by the context"])
    seen: list[tuple[bytes, int]] = []

    async def handler(message: MessageRecord, context: Context) -> None:
        seen.append((message.payload, message.delivery_count))
        if message.delivery_count == 1:
            own = context.mailbox if message.payload == b"by the context" else mailbox
            expect(await own.nack(message.id, error="not yet"), "a handler could not nack its message")
            if message.payload == b"raises":
                raise OnPurposeError

    async with consuming(mailbox, handler, retry=MUCH_LATER):
        await eventually(partial(_length, seen), 6, "handled messages")
        await all_handled(mailbox)
    wanted = [(payload, count) for payload in (b"by the context", b"raises", b"returns") for count in (1, 2)]
    expect_equal(sorted(seen), wanted, "deliveries")


@check(Capability.NACK)
async def check_second_hand_out_is_settled_on_its_own(sandbox: Sandbox) -> None:
    """When a handler that has nacked its message ends, that does not affect the message's next hand-out."""
    mailbox = await sandbox.open()
    await send(mailbox, [b"work"])
    runs = 0
    again, ended = asyncio.Event(), asyncio.Event()
    nacked: list[bool] = []

    async def handler(message: MessageRecord) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            nacked.append(await mailbox.nack(message.id))
            await again.wait()
            ended.set()
        elif runs == 2:
            again.set()
            await ended.wait()
            await asyncio.sleep(0.05)  # time for the first to settle what is no longer its own
            nacked.append(await mailbox.nack(message.id))

    async with consuming(mailbox, handler, concurrency=2):

        async def count() -> int:
            return runs

        await eventually(count, 3, "hand-outs")
        await all_handled(mailbox)
    expect_equal(nacked, [True, True], "whether a handler still held its message")


@check(Capability.DEAD_LETTERS)
async def check_dead_letter_by_hand_is_the_last_word(sandbox: Sandbox) -> None:
    """A message that its handler has made a dead letter stays one, exactly once, with the handler's reason."""
    mailbox = await sandbox.open()
    await send(mailbox, [b"returns", b"raises", b"rejects"])
    seen: list[bytes] = []

    async def handler(message: MessageRecord) -> None:
        seen.append(message.payload)
        await mailbox.dead_letter(message.id, "by hand")
        if message.payload == b"raises":
            raise OnPurposeError
        if message.payload == b"rejects":
            raise Reject("by the loop")

    async with consuming(mailbox, handler, retry=AT_ONCE):
        await eventually(partial(_length, seen), 3, "handled messages")
        await all_handled(mailbox)
    letters = [(letter.record.payload, letter.reason) for letter in await mailbox.dead_letters()]
    expect_equal(sorted(letters), [(payload, "by hand") for payload in sorted(seen)], "dead letters")


@check(Capability.MESSAGE_ID)
async def check_ack_by_hand_is_the_last_word(sandbox: Sandbox) -> None:
    """After a handler has acknowledged its message itself, the loop does not touch a new one with the same id."""
    mailbox = await sandbox.open()
    await send(mailbox, [b"old"])
    seen: list[bytes] = []

    async def handler(message: MessageRecord) -> None:
        seen.append(message.payload)
        if message.payload == b"old":
            expect(await mailbox.ack(message.id), "a handler could not acknowledge its message")
            await mailbox.enqueue(b"handler", b"new", message_id=message.id)

    async with consuming(mailbox, handler):
        await eventually(partial(_length, seen), 2, "handled messages")
        await all_handled(mailbox)
    expect_equal(seen, [b"old", b"new"], "payloads")


@check(Capability.ACK_AND_SEND, Capability.NACK)
async def check_sends_follow_what_a_handler_settled(sandbox: Sandbox) -> None:
    """What a handler sent is stored if it acknowledged its message itself, and not if the message went back."""
    inbox, outbox = await sandbox.open("-in"), await sandbox.open("-out")
    await send(inbox, [b"acks", b"acks and sends", b"nacks"])

    async def handler(message: MessageRecord, context: Context) -> None:
        context.send(outbox, b"handler", message.payload + b" %d" % message.delivery_count)
        if message.payload == b"acks":
            await inbox.ack(message.id)
        elif message.payload == b"acks and sends":
            await inbox.ack_and_send(message.id, [(outbox, NewMessage(b"handler", b"by hand"))])
        elif message.delivery_count == 1:
            await inbox.nack(message.id)

    async with consuming(inbox, handler):
        await all_handled(inbox)
        await eventually(partial(_left, outbox), (4, 0), "queued and inflight messages that were sent")
    sent = sorted(payloads_of(await drain(outbox)))
    expect_equal(sent, [b"acks 1", b"acks and sends 1", b"by hand", b"nacks 2"], "what was sent")


@check(Capability.DEDUPE, Capability.ENQUEUE_MANY)
async def check_sent_on_after_an_ack_by_hand(sandbox: Sandbox) -> None:
    """A handler that acked its message may send it on under its known id, but not to another mailbox that knows it."""
    mailbox, beside, other = await sandbox.open(), await sandbox.open(), await sandbox.open("-other")
    message_id = uuid4()
    await other.enqueue(b"", b"", message_id=message_id, dedupe_for=60.0)
    await other.ack(message_id)
    await mailbox.enqueue(b"", b"step 0", message_id=message_id, dedupe_for=60.0)
    seen: list[bytes] = []

    async def handler(message: MessageRecord, context: Context) -> None:
        seen.append(message.payload)
        target = {b"step 0": mailbox, b"step 1": beside, b"step 2": other}[message.payload]
        context.send(target, b"", b"step %d" % len(seen), message_id=message.id)
        await mailbox.ack(message.id)

    async with consuming(mailbox, handler):
        await eventually(partial(_length, seen), 3, "handled messages")
        await all_handled(mailbox)
    expect_equal(seen, [b"step 0", b"step 1", b"step 2"], "payloads")
    expect_equal(await _left(other), (0, 0), "queued and inflight messages where the id is known")
    await mailbox.enqueue(b"", b"again", message_id=message_id)
    expect_equal(await _left(mailbox), (0, 0), "queued and inflight messages after a repeat")


@check(Capability.ACK_AND_SEND)
async def check_ack_with_a_dequeue_is_the_last_word(sandbox: Sandbox) -> None:
    """A message that its handler has acknowledged with a ``dequeue`` is done, and what the handler sent is stored."""
    inbox, outbox = await sandbox.open("-in"), await sandbox.open("-out")
    handlers: list[asyncio.Task[list[MessageRecord]]] = []

    async def handler(message: MessageRecord, context: Context) -> None:
        context.send(outbox, b"handler", message.payload)
        # it waits longer than its handler runs
        handlers.append(asyncio.ensure_future(inbox.dequeue(wait=math.inf, ack=[message.id])))
        await asyncio.sleep(0)
        context.stop()

    await send(inbox, [b"work"])
    try:
        async with asyncio.timeout(PATIENCE):
            await inbox.consume(handler)
    finally:
        for one in handlers:
            one.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
    expect_equal(await _left(inbox), (0, 0), "queued and inflight messages")
    expect_equal(payloads_of(await drain(outbox)), [b"work"], "what was sent")


# -- claiming by need --------------------------------------------------------------------------------------------------


@check(Capability.RELEASE, needs_limit=True)
async def check_what_cannot_begin_is_for_others(sandbox: Sandbox) -> None:
    """Messages that cannot begin soon stay in the queue or go back there, for others and behind ``HIGH`` ones."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    # so that whole batches are claimed; but if single messages cannot be released, nothing goes back
    quick = numbered(20, "quick") if mailbox._undoes_hand_outs else []
    await send(mailbox, quick + numbered(10))
    work = _Work(quick)
    async with consuming(mailbox, work, concurrency=2):
        await work.has_begun(2)
        await eventually(partial(_left, other), (8, 2), "queued and inflight messages while handlers run")
        taken = await other.dequeue(3)
        expect_equal(payloads_of(taken), [b"m2", b"m3", b"m4"], "what another consumer finds")
        expect({record.delivery_count for record in taken} == {1}, "what went back counts as handed out")
        await send(other, [b"urgent"], priority=MessagePriority.HIGH)
        work.let_end()
        await eventually(partial(_left, other), (0, 3), "queued and inflight messages")
    expect_equal(work.begun[2:], [b"urgent", *numbered(10)[5:]], "what began after that")


@check(needs_limit=True)
async def check_slow_work_is_shared(sandbox: Sandbox) -> None:
    """If two handles consume slow messages, each handles half of them, give or take an eighth."""
    mailboxes = [await sandbox.open(), await sandbox.open()]
    await send(mailboxes[0], numbered(16))
    handled = [0, 0]

    def handler_of(number: int) -> Callable[[MessageRecord], Awaitable[None]]:
        async def handler(message: MessageRecord) -> None:
            handled[number] += 1
            await asyncio.sleep(0.06)

        return handler

    async with consuming(mailboxes[0], handler_of(0)), consuming(mailboxes[1], handler_of(1)):
        await all_handled(mailboxes[0])
    expect(sum(handled) == 16 and min(handled) >= 6, f"the two handled {handled} messages")


@check(Capability.NACK, Capability.RELEASE)
async def check_however_many_wait_for_a_sender(sandbox: Sandbox) -> None:
    """With ``ordered_by_sender`` messages that wait for their sender do not keep others from being claimed."""
    mailbox = await sandbox.open()
    await mailbox.enqueue_many([NewMessage(b"anna", payload) for payload in numbered(400, "held back")])
    await mailbox.enqueue_many([NewMessage(b"ben", payload) for payload in numbered(5)])
    seen: list[bytes] = []

    def handler(message: MessageRecord) -> None:
        if message.sender == b"anna":
            raise OnPurposeError
        seen.append(message.payload)

    async with consuming(mailbox, handler, concurrency=2, ordered_by_sender=True, retry=MUCH_LATER):
        await eventually(partial(_length, seen), 5, "handled messages of another sender")
    expect_equal(seen, numbered(5), "payloads of another sender")
    expect_equal(await _left(mailbox), (400, 0), "queued and inflight messages in the end")


# -- order -------------------------------------------------------------------------------------------------------------


@check()
async def check_handlers_begin_in_order(sandbox: Sandbox) -> None:
    """Handlers begin in the order of the queue, whatever ends while one of them is about to begin."""
    mailbox = await sandbox.open()
    quick = numbered(20, "quick")  # so that whole batches are claimed
    await send(mailbox, quick + numbered(6))
    first_may_end = asyncio.Event()
    begun: list[bytes] = []

    async def handler(message: MessageRecord) -> None:
        if message.payload in quick:
            return
        begun.append(message.payload)
        if message.payload == b"m0":
            await first_may_end.wait()
        elif message.payload == b"m1":
            first_may_end.set()
            time.sleep(0.01)  # noqa: ASYNC251  (others have a turn before the next handler begins)

    async with consuming(mailbox, handler, concurrency=2):
        await all_handled(mailbox)
    expect_equal(begun, numbered(6), "handlers that have begun")


@check()
async def check_senders_stay_in_order(sandbox: Sandbox) -> None:
    """With ``ordered_by_sender`` a sender's messages are handled one by one in order, different senders' at once."""
    mailbox = await sandbox.open()
    senders = (b"anna", b"ben", b"cleo")
    for number in range(6):
        for sender in senders:
            await mailbox.enqueue(sender, b"%d" % number)
    running: list[bytes] = []
    at_once: list[list[bytes]] = []
    seen: dict[bytes, list[bytes]] = {sender: [] for sender in senders}

    async def handler(message: MessageRecord) -> None:
        running.append(message.sender)
        at_once.append(list(running))
        for _ in range(1 + len(seen[message.sender]) % 3):
            await asyncio.sleep(0)
        seen[message.sender].append(message.payload)
        running.remove(message.sender)

    async with consuming(mailbox, handler, concurrency=4, ordered_by_sender=True):
        await all_handled(mailbox)
    for sender, payloads in seen.items():
        expect_equal(payloads, [b"%d" % number for number in range(6)], f"payloads of {sender!r}")
    for together in at_once:
        expect_no_repeats(together, "senders of messages that were handled at once")
    expect(any(len(together) > 1 for together in at_once), "no two senders were handled at once")


@check(Capability.NACK, Capability.RELEASE)
async def check_failed_message_holds_back_its_sender(sandbox: Sandbox) -> None:
    """With ``ordered_by_sender`` a failed message is tried again before later ones of its sender; others continue."""
    mailbox = await sandbox.open(batch_size=4)
    for number in range(6):
        await mailbox.enqueue(b"anna", b"a%d" % number)
        await mailbox.enqueue(b"ben", b"b%d" % number)
    seen: list[bytes] = []

    async def handler(message: MessageRecord) -> None:
        if message.payload in (b"a1", b"a2", b"b3") and message.delivery_count < 3:
            raise OnPurposeError
        await asyncio.sleep(0)
        seen.append(message.payload)

    quickly = RetryPolicy(first_delay=0.005, jitter=0.0)
    async with consuming(mailbox, handler, concurrency=3, ordered_by_sender=True, retry=quickly):
        await all_handled(mailbox)
    for name in (b"a", b"b"):
        own = [payload for payload in seen if payload.startswith(name)]
        expect_equal(own, [b"%b%d" % (name, number) for number in range(6)], f"payloads of {name!r}")


@check(Capability.NACK, Capability.RELEASE)
async def check_sender_that_waits_is_in_nobodys_way(sandbox: Sandbox) -> None:
    """With ``ordered_by_sender`` a sender that waits for its next attempt takes no slot that others could use."""
    mailbox = await sandbox.open(batch_size=2)
    for payload in (b"bad", b"held back", b"held back too"):
        await mailbox.enqueue(b"anna", payload)
    for payload in numbered(5):
        await mailbox.enqueue(b"ben", payload)
    seen: list[bytes] = []

    def handler(message: MessageRecord) -> None:
        seen.append(message.payload)
        if message.payload == b"bad":
            raise OnPurposeError

    async with consuming(mailbox, handler, ordered_by_sender=True, retry=MUCH_LATER):
        await eventually(partial(_length, seen), 6, "handled messages")
    expect_equal(seen, [b"bad", *numbered(5)], "payloads")
    expect_equal(payloads_of(await drain(mailbox)), [b"bad", b"held back", b"held back too"], "what is left, in order")


# -- the end -----------------------------------------------------------------------------------------------------------


def _expect_hand_outs(mailbox: Mailbox, went_back: list[MessageRecord]) -> None:
    """What went back counts as never handed out, unless single messages cannot be released here and were nacked."""
    counts = {record.delivery_count for record in went_back}
    allowed = {1} if mailbox._undoes_hand_outs else {1, 2}
    expect(counts <= allowed, f"delivery counts of what went back are {counts}")


async def _stopped(sandbox: Sandbox, stop: Callable[[Consumer, asyncio.Task[None]], object]) -> asyncio.Task[None]:
    """Stops a consumer in the middle of a batch, and makes sure that this is clean; returns the consumer's task."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    quick = numbered(20, "quick")  # so that whole batches are claimed
    await send(mailbox, quick + numbered(5))
    work = _Work(quick)
    consumer = mailbox.consume(work, concurrency=2)
    task: asyncio.Task[None] = asyncio.ensure_future(consumer)
    await work.has_begun(2)
    stop(consumer, task)
    await eventually(partial(_left, other), (3, 2), "queued and inflight messages while handlers finish")
    expect(not task.done(), "the consumer did not wait for its handlers")
    work.let_end()
    await asyncio.wait([task])
    expect_equal(work.ended, numbered(2), "what was handled")
    expect_equal(await _left(other), (3, 0), "queued and inflight messages in the end")
    records = await drain(other)
    expect_equal(payloads_of(records), [b"m2", b"m3", b"m4"], "what went back")
    _expect_hand_outs(mailbox, records)
    return task


@check(Capability.RELEASE, needs_limit=True)
async def check_stop_is_clean(sandbox: Sandbox) -> None:
    """On ``stop()`` handlers finish and their messages are acked; the rest goes back as if never handed out."""
    task = await _stopped(sandbox, lambda consumer, task: consumer.stop())
    task.result()


@check(Capability.RELEASE, needs_limit=True)
async def check_cancellation_is_clean(sandbox: Sandbox) -> None:
    """A cancelled consumer ends as after ``stop()``, but with ``CancelledError``."""
    task = await _stopped(sandbox, lambda consumer, task: task.cancel())
    expect(task.cancelled(), "the cancelled consumer did not end with CancelledError")


@check()
async def check_repeated_cancellation_is_one(sandbox: Sandbox) -> None:
    """A cancellation that is delivered in every turn of the event loop, as anyio does, is one cancellation."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(2))
    work = _Work()
    task: asyncio.Task[None] = asyncio.ensure_future(mailbox.consume(work, concurrency=2))
    await work.has_begun(2)
    turns = 0
    while not task.done():
        task.cancel()
        turns += 1
        if turns == 50:
            work.let_end()
        await asyncio.sleep(0)
    expect(task.cancelled(), "the cancelled consumer did not end with CancelledError")
    expect_equal(work.ended, numbered(2), "what was handled to its end")
    expect_equal(await _left(mailbox), (0, 0), "queued and inflight messages in the end")


@check(Capability.RELEASE, needs_limit=True)
async def check_second_cancellation_ends_handlers(sandbox: Sandbox) -> None:
    """A consumer that is cancelled a second time ends its handlers; their messages go back."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(mailbox, numbered(4))
    work = _Work()
    task: asyncio.Task[None] = asyncio.ensure_future(mailbox.consume(work, concurrency=2))
    await work.has_begun(2)
    task.cancel()
    # turns, not time: a busy browser may give the loop hardly any turns within so few milliseconds
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    expect(task.cancelled(), "the cancelled consumer did not end with CancelledError")
    expect_equal((work.at_once, work.ended), (0, []), "handlers that still run, or ended by themselves")
    records = await drain(other)
    expect_equal(payloads_of(records), numbered(4), "what went back")
    _expect_hand_outs(mailbox, records)


@check(Capability.RELEASE, needs_limit=True)
async def check_handler_can_stop_its_consumer(sandbox: Sandbox) -> None:
    """``Context.stop()`` ends the consumer after the running handlers, this one included."""
    mailbox = await sandbox.open()
    await send(mailbox, numbered(5))
    seen: list[bytes] = []
    stopping: list[bool] = []

    def handler(message: MessageRecord, context: Context) -> None:
        seen.append(message.payload)
        if len(seen) == 3:
            stopping.append(context.stopping)
            context.stop()
            stopping.append(context.stopping)

    await mailbox.consume(handler)
    expect_equal(stopping, [False, True], "whether the consumer was stopping, before and after it was asked to")
    expect_equal(seen, numbered(3), "what was handled")
    expect_equal(payloads_of(await drain(mailbox)), [b"m3", b"m4"], "what is left")


@check()
async def check_stop_ends_the_waiting(sandbox: Sandbox) -> None:
    """A consumer that waits for messages ends when it is stopped or cancelled, and takes none that come later."""
    mailbox = await sandbox.open()
    for cancelled in (False, True):
        consumer = mailbox.consume(lambda message: None)
        task: asyncio.Task[None] = asyncio.ensure_future(consumer)
        await asyncio.sleep(0.02)
        if cancelled:
            task.cancel()
        else:
            consumer.stop()
        await asyncio.wait([task])
        expect_equal(task.cancelled(), cancelled, "whether it ended with CancelledError")
        await mailbox.enqueue(b"sender", b"later")
        await asyncio.sleep(0.05)  # time for a claim that might go on without its consumer
        records = await drain(mailbox)
        expect_equal([(one.payload, one.delivery_count) for one in records], [(b"later", 1)], "what came later")
        await mailbox.ack(records[0].id)


@check(Capability.NACK)
async def check_failure_during_a_stop_counts(sandbox: Sandbox) -> None:
    """A handler that raises while its consumer stops has failed: its message goes back as a failed delivery."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await send(mailbox, [b"bad"])
    begun = asyncio.Event()
    asked = asyncio.Event()

    async def handler(message: MessageRecord) -> None:
        begun.set()
        await asked.wait()
        raise OnPurposeError

    async with consuming(mailbox, handler, retry=AT_ONCE) as task:
        await begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        asked.set()
    expect_equal([(one.payload, one.delivery_count) for one in await drain(other)], [(b"bad", 2)], "what comes again")


@check(Capability.RELEASE)
async def check_closing_the_mailbox_ends_it(sandbox: Sandbox) -> None:
    """A consumer whose mailbox is closed ends without an error, whether waiting or working; what it held goes back."""
    waiting, other = await sandbox.open(), await sandbox.open()
    async with consuming(waiting, lambda message: None) as task:
        await asyncio.sleep(0.02)
        await waiting.close()
        await asyncio.wait([task])
    working = await sandbox.open()
    await send(other, numbered(3))
    work = _Work()
    async with consuming(working, work) as task:
        await work.has_begun(1)
        await working.close()
        work.let_end()
        await asyncio.wait([task])
    expect_equal(payloads_of(await drain(other)), numbered(3), "what went back")


@check()
async def check_closed_mailbox_is_refused(sandbox: Sandbox) -> None:
    """A closed mailbox cannot be consumed."""
    mailbox = await sandbox.open()
    await mailbox.close()

    async def consume() -> None:
        await mailbox.consume(lambda message: None)

    await expect_error(MailboxClosedError, consume, what="consume of a closed mailbox")


@check()
async def check_arguments_are_checked(sandbox: Sandbox) -> None:
    """A bad argument is named when ``consume`` is called, before anything is claimed."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload")

    async def asynchronous(message: MessageRecord) -> None:
        pass

    def synchronous(message: MessageRecord, *, flag: bool) -> None:
        pass

    bad: list[tuple[type[Exception], str, Any, dict[str, Any]]] = [
        (TypeError, "handler", None, {}),
        (TypeError, "handler", lambda: None, {}),
        (TypeError, "handler", lambda message, context, more: None, {}),
        (TypeError, "concurrency", print, {"concurrency": "2"}),
        (ValueError, "concurrency", print, {"concurrency": 0}),
        (TypeError, "ordered_by_sender", print, {"ordered_by_sender": "no"}),
        (TypeError, "retry", print, {"retry": 3}),
        (ValueError, "timeout", asynchronous, {"timeout": 0}),
        (ValueError, "timeout", asynchronous, {"timeout": -1.0}),
        (ValueError, "timeout", asynchronous, {"timeout": math.nan}),
        (ValueError, "timeout", asynchronous, {"timeout": math.inf}),
        (TypeError, "timeout", asynchronous, {"timeout": "1"}),
        (TypeError, "timeout", lambda message: None, {"timeout": 1.0}),
        (TypeError, "timeout", partial(synchronous, flag=True), {"timeout": 1.0}),
    ]
    for kind, name, handler, options in bad:

        async def consume(handler: Any = handler, options: dict[str, Any] = options) -> None:
            mailbox.consume(handler, **options).close()

        await expect_error(kind, consume, naming=name, what=f"consume({handler!r}, {options})")
    expect_equal(len(await drain(mailbox)), 1, "messages that are left")
