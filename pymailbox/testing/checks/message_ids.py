"""``message_id``: nothing is stored twice under one id, whatever that id looks like."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID, uuid4

from ...contract.capabilities import Capability
from ...contract.mailbox import Mailbox
from ...contract.values import MessagePriority, NewMessage
from .._expect import expect, expect_equal, expect_no_repeats
from .._sandbox import Sandbox, drain, numbered, payloads_of, send
from .._suite import check

HIGH = MessagePriority.HIGH

ODD_IDS: Final = (UUID(int=0), UUID(int=1), UUID(int=2**63), UUID(int=2**64), UUID(int=2**127), UUID(int=2**128 - 1))


async def _life_of(mailbox: Mailbox, message_id: UUID) -> None:
    """Takes one id through everything that can happen to a message."""
    for payload in (b"first life", b"second life"):
        kept = [await mailbox.enqueue(b"sender", payload, message_id=message_id)]
        kept.append(await mailbox.enqueue(b"sender", b"a copy", HIGH, message_id=message_id))
        expect_equal((await mailbox.status()).queued_messages, 1, f"queued messages after two enqueues as {message_id}")
        records = await drain(mailbox)
        kept.append(await mailbox.enqueue(b"sender", b"a copy", message_id=message_id))
        expect_equal(kept, [message_id] * 3, "ids returned")
        expect_equal([(record.id, record.payload) for record in records], [(message_id, payload)], "what came")
        expect_equal(await mailbox.dequeue(), [], f"a dequeue while {message_id} is inflight")
        expect_equal(await mailbox.ack(message_id), True, f"ack of {message_id}")
        expect_equal(await mailbox.ack(message_id), False, f"second ack of {message_id}")


@check(Capability.MESSAGE_ID)
async def check_id_is_kept_and_stored_once(sandbox: Sandbox) -> None:
    """While its message is queued or inflight an id stores nothing again; after the ack it stores a new message."""
    await _life_of(await sandbox.open(), uuid4())


@check(Capability.MESSAGE_ID)
async def check_id_of_all_zeros(sandbox: Sandbox) -> None:
    """An id of all zeros, or of all ones, is an id like any other."""
    mailbox = await sandbox.open()
    for odd_id in ODD_IDS:
        await _life_of(mailbox, odd_id)


@check(Capability.MESSAGE_ID)
async def check_first_message_under_an_id_stays(sandbox: Sandbox) -> None:
    """A repeated enqueue does not change the content, priority or place of the existing message."""
    mailbox = await sandbox.open()
    message_id = uuid4()
    await mailbox.enqueue(b"alice", b"first", message_id=message_id)
    await mailbox.enqueue(b"sender", b"between")
    await mailbox.enqueue(b"bob", b"repeated", HIGH, message_id=message_id)
    records = await drain(mailbox)
    expect_equal([(r.sender, r.payload) for r in records], [(b"alice", b"first"), (b"sender", b"between")], "messages")


@check(Capability.MESSAGE_ID)
async def check_id_is_free_after_its_ack(sandbox: Sandbox) -> None:
    """After the ack of its message, queued or inflight, an id stores a new one at the end."""
    mailbox = await sandbox.open()
    message_id = uuid4()
    await mailbox.enqueue(b"sender", b"acked while queued", message_id=message_id)
    await mailbox.ack(message_id)
    await mailbox.enqueue(b"sender", b"between")
    await mailbox.enqueue(b"sender", b"new", message_id=message_id)
    records = await drain(mailbox)
    expect_equal(payloads_of(records), [b"between", b"new"], "payloads")
    expect_equal([record.delivery_count for record in records], [1, 1], "delivery counts")


@check(Capability.MESSAGE_ID, Capability.PURGE)
async def check_id_is_free_after_a_purge(sandbox: Sandbox) -> None:
    """A purged message's id stores a new message; an inflight one's does not."""
    mailbox = await sandbox.open()
    held, purged = uuid4(), uuid4()
    await mailbox.enqueue(b"sender", b"held", message_id=held)
    await drain(mailbox)
    await mailbox.enqueue(b"sender", b"purged", message_id=purged)
    await mailbox.purge()
    for message_id in (held, purged):
        await mailbox.enqueue(b"sender", b"new", message_id=message_id)
    expect_equal([record.id for record in await drain(mailbox)], [purged], "ids handed out after the purge")


@check(Capability.MESSAGE_ID)
async def check_handles_share_ids(sandbox: Sandbox) -> None:
    """An id that one handle stored is known to every other handle at once, even in calls that run together."""
    handles = [await sandbox.open(), await sandbox.open()]
    known = uuid4()
    await handles[0].enqueue(b"sender", b"known", message_id=known)
    await handles[1].enqueue(b"sender", b"known again", message_id=known)
    for _ in range(5):
        raced = uuid4()
        calls = [handle.enqueue(b"sender", b"raced", message_id=raced) for handle in handles for _ in range(3)]
        expect_equal(await asyncio.gather(*calls), [raced] * 6, "ids returned")
    expect_equal(payloads_of(await drain(handles[0])), [b"known"] + [b"raced"] * 5, "payloads")


@check(Capability.MESSAGE_ID)
async def check_mailboxes_do_not_share_ids(sandbox: Sandbox) -> None:
    """The same id in two mailboxes of one database is two messages."""
    first, second = await sandbox.open("first"), await sandbox.open("second")
    message_id = uuid4()
    await first.enqueue(b"sender", b"first", message_id=message_id)
    await second.enqueue(b"sender", b"second", message_id=message_id)
    expect_equal(await first.ack(message_id), True, "ack in the first mailbox")
    expect_equal(payloads_of(await drain(second)), [b"second"], "payloads of the second mailbox")


@check(Capability.MESSAGE_ID)
async def check_ids_survive_reopening(sandbox: Sandbox) -> None:
    """An id whose message is in the mailbox is known to a handle that is opened later."""
    first = await sandbox.open()
    message_id = uuid4()
    await first.enqueue(b"sender", b"payload", message_id=message_id)
    await first.close()
    second = await sandbox.open()
    await second.enqueue(b"sender", b"again", message_id=message_id)
    expect_equal(payloads_of(await drain(second)), [b"payload"], "payloads")


@check(Capability.MESSAGE_ID)
async def check_generated_id_can_be_sent_again(sandbox: Sandbox) -> None:
    """An id that the mailbox made is like any other: known while its message is there, free afterwards."""
    mailbox = await sandbox.open()
    ids = [await mailbox.enqueue(b"sender", payload) for payload in numbered(4)]
    await mailbox.enqueue(b"sender", b"a copy", message_id=ids[1])
    await mailbox.ack(ids[0])
    await mailbox.enqueue(b"sender", b"sent again", message_id=ids[0])
    records = await drain(mailbox)
    expect_equal(payloads_of(records), [b"m1", b"m2", b"m3", b"sent again"], "payloads")
    expect_equal([record.id for record in records], [*ids[1:], ids[0]], "ids")
    await mailbox.enqueue(b"sender", b"a copy", message_id=ids[2])
    expect_equal((await mailbox.status()).queued_messages, 0, "queued messages after an enqueue of an inflight id")
    expect_equal([await mailbox.ack(message_id) for message_id in ids], [True] * 4, "acks")
    for message_id in ids:
        await _life_of(mailbox, message_id)


@check(Capability.MESSAGE_ID)
async def check_generated_id_of_another_mailbox(sandbox: Sandbox) -> None:
    """An id that another mailbox made can be used here, whether its message there is queued or acked."""
    here, there = await sandbox.open("here"), await sandbox.open("there")
    queued, acked = await there.enqueue(b"sender", b"queued"), await there.enqueue(b"sender", b"acked")
    await there.ack(acked)
    await send(here, numbered(3))
    for message_id in (queued, acked):
        await here.enqueue(b"sender", b"sent on", message_id=message_id)
    expect_equal(payloads_of(await drain(here)), [*numbered(3), b"sent on", b"sent on"], "payloads")
    expect_equal([await here.ack(queued), await here.ack(acked), await here.ack(queued)], [True, True, False], "acks")
    expect_equal(payloads_of(await drain(there)), [b"queued"], "payloads of the other mailbox")


@check(Capability.MESSAGE_ID)
async def check_ids_like_those_to_come(sandbox: Sandbox) -> None:
    """Given ids near one that the mailbox made, which it may be about to make itself, never merge or hide messages."""
    mailbox = await sandbox.open()
    made = await mailbox.enqueue(b"sender", b"made")
    near = [UUID(int=(made.int + distance) % 2**128) for distance in (1, 2, 3, 5, -1, 1 << 48, 1 << 64, 1 << 76)]
    for number, message_id in enumerate(near):
        await mailbox.enqueue(b"sender", b"near%d" % number, message_id=message_id)
    ids = [made, *near]
    ids += [
        await mailbox.enqueue(b"sender", payload, priority) for payload in numbered(6) for priority in MessagePriority
    ]
    expect_no_repeats(ids, "ids")
    expect_equal((await mailbox.status()).queued_messages, len(ids), "queued messages")
    contents = {record.id: record.payload for record in await drain(mailbox)}
    expect_equal(set(contents), set(ids), "ids handed out")
    for number, message_id in enumerate(near):
        expect_equal(contents[message_id], b"near%d" % number, "payload")
    expect_equal([await mailbox.ack(message_id) for message_id in ids], [True] * len(ids), "acks")
    expect_equal([await mailbox.ack(message_id) for message_id in ids], [False] * len(ids), "second acks")


@check(Capability.MESSAGE_ID, Capability.ENQUEUE_MANY)
async def check_ids_like_those_to_come_in_one_batch(sandbox: Sandbox) -> None:
    """The same holds within one batch, for which the next ids may already have been chosen."""
    mailbox = await sandbox.open()
    made = await mailbox.enqueue(b"sender", b"made")
    near = [UUID(int=made.int + distance) for distance in range(1, 9)]
    batch = [NewMessage(b"sender", payload) for payload in numbered(4)]
    batch += [NewMessage(b"sender", b"near", message_id=message_id) for message_id in near]
    batch += [NewMessage(b"sender", payload) for payload in numbered(4)]
    ids = await mailbox.enqueue_many(batch)
    expect_equal(ids[4:12], near, "ids of the messages that brought their own")
    expect_no_repeats(ids[:4], "ids that the mailbox made first")
    expect_no_repeats(near + ids[12:], "ids of the rest of the batch")
    # the mailbox may have given one of the first four an id that a later message brings: then that one is a repeat
    wanted = {made: b"made"}
    for message_id, message in zip(ids, batch, strict=True):
        wanted.setdefault(message_id, bytes(message.payload))
    expect_equal((await mailbox.status()).queued_messages, len(wanted), "queued messages, one for each id")
    records = await drain(mailbox)
    expect_equal([(record.id, record.payload) for record in records], list(wanted.items()), "ids and payloads")


@check(Capability.MESSAGE_ID, Capability.ENQUEUE_MANY)
async def check_duplicates_in_one_batch(sandbox: Sandbox) -> None:
    """If messages of a batch share an id, the first is stored, and the answer has the id for each of them."""
    mailbox = await sandbox.open()
    twice, known = uuid4(), uuid4()
    await mailbox.enqueue(b"sender", b"known", message_id=known)
    ids = await mailbox.enqueue_many(
        [
            NewMessage(b"sender", b"first", message_id=twice),
            NewMessage(b"sender", b"plain"),
            NewMessage(b"sender", b"second", HIGH, message_id=twice),
            NewMessage(b"sender", b"known again", message_id=known),
        ]
    )
    expect_equal([ids[0], ids[2], ids[3]], [twice, twice, known], "ids returned")
    records = await drain(mailbox)
    expect_equal(payloads_of(records), [b"known", b"first", b"plain"], "payloads")
    expect_equal([record.id for record in records], [known, twice, ids[1]], "ids")


@check(Capability.MESSAGE_ID)
async def check_cancelled_enqueue_can_be_repeated(sandbox: Sandbox) -> None:
    """An enqueue that is cancelled at any moment and repeated with its id stores one message."""
    mailbox = await sandbox.open()
    ids = [uuid4() for _ in range(8)]
    for steps, message_id in enumerate(ids):
        call = asyncio.ensure_future(mailbox.enqueue(b"sender", b"payload", message_id=message_id))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        expect_equal(await mailbox.enqueue(b"sender", b"payload", message_id=message_id), message_id, "id returned")
    expect_equal([record.id for record in await drain(mailbox)], ids, "ids handed out")


@check(Capability.MESSAGE_ID, Capability.RELEASE)
async def check_released_message_keeps_its_id(sandbox: Sandbox) -> None:
    """A message that was given back still keeps out a second one with its id."""
    holder, other = await sandbox.open(), await sandbox.open()
    message_id = uuid4()
    await holder.enqueue(b"sender", b"payload", message_id=message_id)
    await drain(holder)
    await holder.close()
    await other.enqueue(b"sender", b"again", message_id=message_id)
    records = await drain(other)
    expect_equal(payloads_of(records), [b"payload"], "payloads")
    expect(await other.ack(message_id), "ack is not True")
