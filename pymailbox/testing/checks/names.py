"""Mailboxes of one database are separate, and their names are compared exactly."""

from __future__ import annotations

from typing import Final

from ...contract.capabilities import Capability
from .._expect import expect_equal
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check

ODD_NAMES: Final = (
    "a",
    "A",
    "a ",
    "a b",
    "a+b",
    "a%20b",
    "a%2520b",
    "a/b",
    "a%2Fb",
    "a\\b",
    "a?b",
    "a#b",
    "a&b=c",
    "a:b@c",
    "../a",
    "a'; DROP TABLE messages; --",
    'a"b',
    "a*b_c%",
    "é",  # one character
    "e\u0301",  # looks the same, but is two characters
    "ß",
    "ss",
    "почта",
    "郵便",
    "💌",
    "a\u200bb",  # zero-width space
    "constructor",
    "x" * 180,
)
"""Names that a careless backend takes for one another, or for something other than a name."""


@check()
async def check_mailboxes_are_apart(sandbox: Sandbox) -> None:
    """A message is in its mailbox only: no other hands it out, counts it or acks it."""
    first, second = await sandbox.open("first"), await sandbox.open("second")
    message_id = await first.enqueue(b"sender", b"payload")
    expect_equal(await second.dequeue(), [], "dequeue from the other mailbox")
    expect_equal(await second.ack(message_id), False, "ack in the other mailbox")
    expect_equal((await second.status()).queued_messages, 0, "queued messages of the other mailbox")
    if Capability.PURGE in second.capabilities:
        expect_equal(await second.purge(), 0, "messages purged in the other mailbox")
    if Capability.ACK_MANY in second.capabilities:
        expect_equal(await second.ack_many([message_id]), 0, "messages removed by ack_many in the other mailbox")
    expect_equal(payloads_of(await drain(first)), [b"payload"], "payloads")


@check()
async def check_closing_one_mailbox_leaves_the_other(sandbox: Sandbox) -> None:
    """A handle on another mailbox of the database keeps working when one is closed."""
    first, second = await sandbox.open("first"), await sandbox.open("second")
    await send(second, numbered(2))
    await first.close()
    await send(second, numbered(2, "later"))
    expect_equal(payloads_of(await drain(second)), numbered(2) + numbered(2, "later"), "payloads")


@check()
async def check_odd_names_are_distinct(sandbox: Sandbox) -> None:
    """Names may have any characters, and each is a mailbox of its own that is found again."""
    for name in ODD_NAMES:
        mailbox = await sandbox.open(f"-{name}")
        await mailbox.enqueue(b"sender", name.encode())
        await mailbox.close()
    for name in ODD_NAMES:
        mailbox = await sandbox.open(f"-{name}")
        expect_equal(payloads_of(await drain(mailbox)), [name.encode()], f"payloads of the mailbox {name!r}")
        await mailbox.close()
