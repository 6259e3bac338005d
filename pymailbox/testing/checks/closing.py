"""``close``, and what a closed handle does."""

from __future__ import annotations

import asyncio

from ...contract.errors import MailboxClosedError
from ...contract.mailbox import Mailbox
from .._expect import expect, expect_equal, expect_error
from .._sandbox import Sandbox, drain, numbered, outcome_of, payloads_of, send
from .._suite import check
from .._verbs import VerbCall, verbs_of


@check()
async def check_closed_handle_refuses_every_verb(sandbox: Sandbox) -> None:
    """Every verb of a closed handle raises ``MailboxClosedError`` and does nothing."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    await mailbox.close()
    for name, call in verbs_of(mailbox).items():
        await expect_error(MailboxClosedError, call, mailbox, what=name)
    expect_equal((await other.status()).queued_messages, 0, "queued messages")


@check()
async def check_close_twice_is_fine(sandbox: Sandbox) -> None:
    """Closing a closed handle, or closing a handle twice at once, does nothing more."""
    mailbox = await sandbox.open()
    await asyncio.gather(mailbox.close(), mailbox.close())
    await mailbox.close()


@check()
async def check_async_with_closes(sandbox: Sandbox) -> None:
    """Leaving ``async with`` closes the handle, even with an exception, which passes through."""
    mailbox = await sandbox.open()
    async with mailbox as entered:
        expect(entered is mailbox, "async with gave something other than the mailbox")
    await expect_error(MailboxClosedError, mailbox.status, what="status after async with")
    failing = await sandbox.open()

    async def fail_inside() -> None:
        async with failing:
            raise KeyError("on purpose")

    await expect_error(KeyError, fail_inside)
    await expect_error(MailboxClosedError, failing.status, what="status after a failing async with")


@check()
async def check_closing_one_handle_leaves_the_others(sandbox: Sandbox) -> None:
    """Other handles on the mailbox stay open, with what they hold."""
    first, second = await sandbox.open(), await sandbox.open()
    await send(first, numbered(3))
    held = await drain(second)
    await first.close()
    expect_equal((await second.status()).inflight_messages, 3, "inflight messages")
    expect_equal([await second.ack(record.id) for record in held], [True] * 3, "acks")
    await second.enqueue(b"sender", b"payload")
    expect_equal(payloads_of(await drain(second)), [b"payload"], "payloads")


@check()
async def check_close_lets_calls_under_way_finish(sandbox: Sandbox) -> None:
    """Calls that began before ``close`` end as if it had not been called, and what they did stays."""
    mailbox, other = await sandbox.open(), await sandbox.open()
    acked = await mailbox.enqueue(b"sender", b"acked")
    calls = asyncio.gather(
        *(mailbox.enqueue(b"sender", payload) for payload in numbered(20)), mailbox.ack(acked), mailbox.status()
    )
    await asyncio.sleep(0)
    await mailbox.close()
    results = await calls
    expect_equal(results[20], True, "the ack")
    records = await drain(other)
    expect_equal(payloads_of(records), numbered(20), "payloads")
    expect_equal([record.id for record in records], results[:20], "ids")


@check()
async def check_close_lets_every_verb_under_way_finish(sandbox: Sandbox) -> None:
    """No verb that has begun ends with an error because its handle is closed meanwhile, at any moment."""
    other = await sandbox.open()
    await send(other, numbered(1))
    await drain(other)  # so that there is a holder to check
    for name in verbs_of(other, to_the_end=True):
        if name == "dequeue(wait=...)":
            continue  # it may be waiting, and is then told
        for steps in range(1, 5):
            mailbox = await sandbox.open()
            call = asyncio.ensure_future(_made(verbs_of(mailbox)[name], mailbox))
            for _ in range(steps):
                await asyncio.sleep(0)
            await mailbox.close()
            outcome = await call
            expect(not isinstance(outcome, Exception), f"{name}, closed after {steps} steps: {outcome!r}")


async def _made(call: VerbCall, mailbox: Mailbox) -> object:
    return await outcome_of(call(mailbox))


@check()
async def check_close_against_every_verb(sandbox: Sandbox) -> None:
    """Calls made at the same moment as ``close`` succeed or end with ``MailboxClosedError``; none hangs."""
    for _ in range(2):
        mailbox = await sandbox.open()

        async def made(call: VerbCall, mailbox: Mailbox = mailbox) -> object:
            return await call(mailbox)

        calls = verbs_of(mailbox, to_the_end=True).values()
        outcomes = await asyncio.gather(*map(made, calls), mailbox.close(), *map(made, calls), return_exceptions=True)
        errors = [e for e in outcomes if isinstance(e, BaseException) and not isinstance(e, MailboxClosedError)]
        expect_equal(errors, [], "errors of calls beside close")
