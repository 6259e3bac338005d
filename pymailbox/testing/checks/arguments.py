"""Bad arguments: a ``TypeError`` or ``ValueError`` that names the argument, with nothing written."""

from __future__ import annotations

import array
import math
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from uuid import UUID, uuid4

from ...contract.capabilities import Capability
from ...contract.limits import LARGEST_COUNT, LARGEST_MESSAGE, LONGEST_DELAY
from ...contract.mailbox import Mailbox
from ...contract.values import NewMessage
from .._expect import expect_equal, expect_error
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check


async def _expect_refused(
    mailbox: Mailbox, argument: str, values: Iterable[Any], call: Callable[[Any], Awaitable[object]]
) -> None:
    """Each value is refused by name, and two messages in the mailbox stay as they are."""
    await send(mailbox, numbered(2))
    for value in values:
        await expect_error(
            (TypeError, ValueError),
            call,
            value,
            naming=argument,
            what=f"{argument}={value!r}",
        )
    records = await drain(mailbox)
    expect_equal(payloads_of(records), numbered(2), "messages after calls that were refused")
    expect_equal([record.delivery_count for record in records], [1, 1], "delivery counts")


@check()
async def check_sender_must_be_bytes(sandbox: Sandbox) -> None:
    """A sender that is not bytes-like is refused."""
    mailbox = await sandbox.open()
    await _expect_refused(mailbox, "sender", ["text", None, 5, [1, 2]], lambda bad: mailbox.enqueue(bad, b""))


@check()
async def check_payload_must_be_bytes(sandbox: Sandbox) -> None:
    """A payload that is not bytes-like is refused."""
    mailbox = await sandbox.open()
    await _expect_refused(mailbox, "payload", ["text", None, 5, {}], lambda bad: mailbox.enqueue(b"", bad))


def _no_bytes() -> list[Any]:
    """Buffers whose items are not bytes, such as addresses, and one that can no longer be read."""
    released = memoryview(b"released")
    released.release()
    addresses = memoryview(bytes(16)).cast("P")
    return [array.array("d", [1.5]), array.array("H", [1, 513]), addresses, released]


@check()
async def check_buffer_must_be_of_bytes(sandbox: Sandbox) -> None:
    """A buffer of anything but single bytes is refused, and so is one that was released."""
    mailbox = await sandbox.open()
    await _expect_refused(mailbox, "sender", _no_bytes(), lambda bad: mailbox.enqueue(bad, b""))
    other = await sandbox.open("payload")
    await _expect_refused(other, "payload", _no_bytes(), lambda bad: other.enqueue(b"", bad))
    if Capability.ENQUEUE_MANY in mailbox.capabilities:
        batches = await sandbox.open("batches")
        good = NewMessage(b"", b"")
        await _expect_refused(
            batches, "payload", _no_bytes(), lambda bad: batches.enqueue_many([good, NewMessage(b"", bad)])
        )


@check()
async def check_message_holds_64_mib_at_most(sandbox: Sandbox) -> None:
    """Sender, payload and headers of more than 64 MiB together are refused, alone, in a batch and in a send."""
    mailbox = await sandbox.open()
    large = bytes(LARGEST_MESSAGE)
    calls: list[tuple[Capability | None, Callable[[UUID], Awaitable[object]]]] = [
        (None, lambda _: mailbox.enqueue(b"x", large)),
        (Capability.HEADERS, lambda _: mailbox.enqueue(b"", large, headers={"name": "text"})),
        (
            Capability.ENQUEUE_MANY,
            lambda _: mailbox.enqueue_many([NewMessage(b"", b""), NewMessage(b"x", large)]),
        ),
        (Capability.ACK_AND_SEND, lambda held: mailbox.ack_and_send(held, [(mailbox, NewMessage(b"x", large))])),
    ]
    held = await mailbox.enqueue(b"sender", b"held")
    await drain(mailbox)
    for capability, call in calls:
        if capability is None or capability in mailbox.capabilities:
            what = f"{capability or 'enqueue'} of a message that is too large"
            await expect_error(ValueError, call, held, naming="payload", what=what)
    stats = await mailbox.status()
    expect_equal((stats.queued_messages, stats.inflight_messages), (0, 1), "queued and inflight messages")


@check()
async def check_priority_must_be_one(sandbox: Sandbox) -> None:
    """A priority that is not a ``MessagePriority`` is refused."""
    mailbox = await sandbox.open()
    await _expect_refused(mailbox, "priority", [7, -1, "high", None], lambda bad: mailbox.enqueue(b"", b"", bad))


@check()
async def check_wait_must_be_seconds(sandbox: Sandbox) -> None:
    """A wait that is negative, NaN, not a number at all, or finite and beyond 100 years is refused."""
    mailbox = await sandbox.open()
    bad_waits = [-1, -math.inf, math.nan, "1", *_ENORMOUS]
    await _expect_refused(mailbox, "wait", bad_waits, lambda bad: mailbox.dequeue(wait=bad))


_BAD_COUNTS: Final = (0, -1, 1.5, "3", LARGEST_COUNT + 1, 2**63 - 1, 2**64, -(2**64))


@check(needs_limit=True)
async def check_limit_must_be_positive(sandbox: Sandbox) -> None:
    """A limit that is below 1 or above 2**53 - 1, or not an int, is refused."""
    mailbox = await sandbox.open()
    await _expect_refused(mailbox, "limit", _BAD_COUNTS, lambda bad: mailbox.dequeue(bad))
    if Capability.PEEK in mailbox.capabilities:
        other = await sandbox.open("peek")
        await _expect_refused(other, "limit", _BAD_COUNTS, lambda bad: other.peek(bad))


@check(needs_limit=True)
async def check_largest_limit_takes_all(sandbox: Sandbox) -> None:
    """A limit or a ``batch_size`` of 2**53 - 1 gives everything there is."""
    mailbox, large = await sandbox.open(batch_size=1), await sandbox.open(batch_size=LARGEST_COUNT)
    await send(mailbox, numbered(3))
    if Capability.PEEK in mailbox.capabilities:
        expect_equal(payloads_of(await mailbox.peek(LARGEST_COUNT)), numbered(3), "payloads that peek shows")
        expect_equal(payloads_of(await large.peek()), numbered(3), "payloads that peek shows without a limit")
    records = await mailbox.dequeue(LARGEST_COUNT)
    expect_equal(payloads_of(records), numbered(3), "payloads handed out")
    if Capability.DEAD_LETTERS in mailbox.capabilities:
        for record in records:
            await mailbox.dead_letter(record.id, "reason")
        expect_equal(len(await mailbox.dead_letters(LARGEST_COUNT)), 3, "dead letters")
        expect_equal(len(await large.dead_letters()), 3, "dead letters without a limit")


@check()
async def check_id_to_ack_must_be_a_uuid(sandbox: Sandbox) -> None:
    """An id that is not a UUID is refused, even if it reads like one."""
    mailbox = await sandbox.open()
    bad_ids = [str(uuid4()), uuid4().bytes, 0, None]
    await _expect_refused(mailbox, "message_id", bad_ids, lambda bad: mailbox.ack(bad))


@check(Capability.MESSAGE_ID)
async def check_message_id_must_be_a_uuid(sandbox: Sandbox) -> None:
    """A ``message_id`` that is not a UUID is refused, even if it is merely false."""
    mailbox = await sandbox.open()
    bad_ids = [str(uuid4()), uuid4().bytes, 0, "", False]
    await _expect_refused(mailbox, "message_id", bad_ids, lambda bad: mailbox.enqueue(b"", b"", message_id=bad))


@check(Capability.ENQUEUE_MANY)
async def check_messages_must_be_new_messages(sandbox: Sandbox) -> None:
    """Anything but an iterable of ``NewMessage`` is refused."""
    mailbox = await sandbox.open()
    bad = [None, 5, "text", b"bytes", NewMessage(b"", b""), [b"bytes"], [(b"sender", b"payload")], [None]]
    await _expect_refused(mailbox, "messages", bad, lambda bad: mailbox.enqueue_many(bad))


_ENORMOUS: Final = (4e9, 1e300, 10**400)
"""Seconds: more than 100 years, and more than a float can hold."""

_BAD_DELAYS: Final = (
    *(-1, -0.001, math.nan, math.inf, "1", timedelta(seconds=-1), timedelta.max, True, Decimal(1), Fraction(1, 2)),
    *_ENORMOUS,
)


@check(Capability.ENQUEUE_MANY)
async def check_delay_must_not_be_negative(sandbox: Sandbox) -> None:
    """A delay that is negative, beyond 100 years or not a time at all is refused."""
    mailbox = await sandbox.open()
    await _expect_refused(
        mailbox, "delay", _BAD_DELAYS, lambda bad: mailbox.enqueue_many([NewMessage(b"", b"", delay=bad)])
    )
    if Capability.DELAY in mailbox.capabilities:
        other = await sandbox.open("enqueue")
        await _expect_refused(other, "delay", _BAD_DELAYS, lambda bad: other.enqueue(b"", b"", delay=bad))


async def _expect_refused_while_held(
    mailbox: Mailbox, argument: str, values: Iterable[Any], call: Callable[[UUID, Any], Awaitable[object]]
) -> None:
    """Each value is refused by name, and the message that the call was about stays with its handle."""
    message_id = await mailbox.enqueue(b"sender", b"held")
    await drain(mailbox)
    for value in values:
        what = f"{argument}={value!r}"
        await expect_error((TypeError, ValueError), call, message_id, value, naming=argument, what=what)
    stats = await mailbox.status()
    left = (stats.queued_messages, stats.inflight_messages, stats.dead_letters)
    expect_equal(left, (0, 1, 0), "queued, inflight and dead messages after calls that were refused")
    expect_equal(await mailbox.ack(message_id), True, "ack")


@check(Capability.NACK)
async def check_nack_takes_seconds_and_text(sandbox: Sandbox) -> None:
    """A ``nack`` with a bad delay, or an error that is not text, is refused, and the message stays inflight."""
    mailbox = await sandbox.open()
    await _expect_refused_while_held(mailbox, "delay", _BAD_DELAYS, lambda one, bad: mailbox.nack(one, delay=bad))
    await _expect_refused_while_held(
        mailbox, "error", [b"bytes", 5, ValueError("no")], lambda one, bad: mailbox.nack(one, error=bad)
    )


@check(Capability.DEAD_LETTERS)
async def check_reason_must_be_text(sandbox: Sandbox) -> None:
    """A reason that is not text is refused, and the message stays inflight."""
    mailbox = await sandbox.open()
    await _expect_refused_while_held(
        mailbox, "reason", [None, b"bytes", 5, ValueError("no")], lambda one, bad: mailbox.dead_letter(one, bad)
    )


@check(Capability.NACK, Capability.DEAD_LETTERS)
async def check_lone_surrogates_are_stored_escaped(sandbox: Sandbox) -> None:
    r"""Lone surrogates in an error or a reason, which UTF-8 cannot hold, are stored as text such as ``\udcff``."""
    mailbox = await sandbox.open(max_deliveries=1)
    await send(mailbox, numbered(2))
    failed, rejected = await drain(mailbox)
    expect_equal(await mailbox.nack(failed.id, error="no file \udcff.txt"), True, "nack")
    expect_equal(await mailbox.dead_letter(rejected.id, "half \ud83d of a 🙃\ude43"), True, "dead_letter")
    letters = {letter.record.id: letter for letter in await mailbox.dead_letters()}
    expect_equal(letters[failed.id].error, r"no file \udcff.txt", "error")
    expect_equal(letters[rejected.id].reason, r"half \ud83d of a 🙃\ude43", "reason")


@check(Capability.NACK, Capability.DEAD_LETTERS)
async def check_id_of_any_verb_must_be_a_uuid(sandbox: Sandbox) -> None:
    """``nack``, ``dead_letter``, ``redrive`` and ``discard`` refuse an id that is not a UUID."""
    mailbox = await sandbox.open()
    verbs: list[Callable[[Any], Awaitable[object]]] = [
        mailbox.nack,
        lambda bad: mailbox.dead_letter(bad, "reason"),
        mailbox.redrive,
        mailbox.discard,
    ]
    for verb in verbs:

        async def call(_: UUID, bad: Any, verb: Callable[[Any], Awaitable[object]] = verb) -> object:
            return await verb(bad)

        await _expect_refused_while_held(mailbox, "message_id", [str(uuid4()), 0, None], call)


@check(Capability.DEAD_LETTERS)
async def check_limit_of_dead_letters_must_be_positive(sandbox: Sandbox) -> None:
    """``dead_letters`` refuses a limit that is below 1 or above 2**53 - 1, or not an int."""
    mailbox = await sandbox.open()
    await _expect_refused(mailbox, "limit", _BAD_COUNTS, lambda bad: mailbox.dead_letters(bad))


@check(Capability.DEAD_LETTERS, Capability.RECOVER)
async def check_options_must_make_sense(sandbox: Sandbox) -> None:
    """Counts below 1 or above 2**53 - 1, and a ``lease`` outside 0 to 100 years, are refused when opening a handle."""
    for option, values in (
        ("batch_size", [*_BAD_COUNTS, True, None]),
        ("max_deliveries", [*_BAD_COUNTS, True]),
        ("lease", [0, -1.0, math.nan, math.inf, "300", None, *_ENORMOUS]),
    ):
        for value in values:
            await expect_error(
                (TypeError, ValueError),
                lambda option=option, value=value: sandbox.open(**{option: value}),
                naming=option,
                what=f"{option}={value!r}",
            )


@check(Capability.NACK, Capability.DEAD_LETTERS, Capability.RECOVER)
async def check_largest_options_work(sandbox: Sandbox) -> None:
    """With ``max_deliveries`` of 2**53 - 1 and a ``lease`` of 100 years nothing is given up or taken back too early."""
    mailbox = await sandbox.open(max_deliveries=LARGEST_COUNT, lease=LONGEST_DELAY)
    await send(mailbox, numbered(1))
    for delivery in (1, 2, 3):
        [record] = await mailbox.dequeue()
        expect_equal(record.delivery_count, delivery, "delivery_count")
        expect_equal(await mailbox.recover(), 0, "messages taken back from a handle that lives")
        expect_equal(await mailbox.nack(record.id, error="no"), True, "nack")
    stats = await mailbox.status()
    expect_equal((stats.queued_messages, stats.dead_letters), (1, 0), "queued messages and dead letters")


@check(Capability.ACK_MANY)
async def check_ids_to_ack_must_be_uuids(sandbox: Sandbox) -> None:
    """Anything but an iterable of UUIDs is refused, and the valid ids in it are not acked."""
    mailbox = await sandbox.open()
    message_id = await mailbox.enqueue(b"sender", b"kept")
    bad = [None, 5, message_id, str(message_id), [message_id, str(message_id)], [message_id, None]]
    for value in bad:
        await expect_error(
            (TypeError, ValueError),
            mailbox.ack_many,
            value,
            naming="ids",
            what=f"ids={value!r}",
        )
    expect_equal(payloads_of(await drain(mailbox)), [b"kept"], "payloads")


@check()
async def check_ids_to_ack_first_must_be_uuids(sandbox: Sandbox) -> None:
    """A ``dequeue`` refuses an ``ack`` that is not an iterable of UUIDs; nothing is acknowledged or handed out."""
    mailbox = await sandbox.open()
    held = await mailbox.enqueue(b"sender", b"held")
    await drain(mailbox)
    bad = [None, 0, held, str(held), held.bytes, [held, str(held)], [held, None]]
    await _expect_refused(mailbox, "ack", bad, lambda bad: mailbox.dequeue(ack=bad))
    expect_equal(await mailbox.ack(held), True, "ack of what was among the bad ids")


@check(Capability.PEEK)
async def check_status_to_peek_at_must_be_one(sandbox: Sandbox) -> None:
    """A status that is not a ``MessageStatus`` is refused."""
    mailbox = await sandbox.open()
    await _expect_refused(mailbox, "status", ["queued", 0, True], lambda bad: mailbox.peek(status=bad))


@check(Capability.DEPTH_OBSERVER)
async def check_observer_must_have_its_method(sandbox: Sandbox) -> None:
    """An observer without ``on_depth_change`` is refused, and the old one stays."""
    mailbox = await sandbox.open()

    class Counter:
        calls = 0

        def on_depth_change(self, queued_messages: int) -> None:
            self.calls += 1

    counter = Counter()
    mailbox.set_depth_observer(counter)

    async def install(observer: Any) -> bool:
        return mailbox.set_depth_observer(observer)

    await _expect_refused(mailbox, "observer", [print, "observer", 0], install)
    expect_equal(counter.calls, 2, "calls of the observer that was there before")
