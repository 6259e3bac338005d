"""What a follower of a log meets that is not just the next commit: it has the state of all others, or says why not."""

from __future__ import annotations

import asyncio
import shutil
import time
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from pymailbox import (
    ConnectionLostError,
    NewMessage,
    StorageCorruptError,
    StorageUnavailableError,
    delete_mailbox,
    list_mailboxes,
    open_mailbox,
    relay,
)
from pymailbox.backends import notifier
from pymailbox.backends.jetstream import cleaning, codec, replica, snapshots, state
from pymailbox.backends.jetstream.replica import Replica
from pymailbox.contract.moments import now_in_ms
from tests.nats.asking import counts
from tools.nats_servers import Servers

SERVERS = ("one",)
SECONDS = 20.0


def messages(count: int) -> list[NewMessage]:
    return [NewMessage(b"", b"%d" % number) for number in range(count)]


async def opened(servers: Servers, stream: str, who: str, lease: float = 300) -> Any:
    """A handle with a connection of its own."""
    return await open_mailbox(servers.location("inbox", stream), connect={"name": who}, lease=lease)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + SECONDS
    while not await holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_claim_behind_a_cancelled_one_gets_the_oldest(servers: Servers, stream: str) -> None:
    """Cancelled before it is sent, on its way, or as its answer comes."""
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        await mailbox.enqueue_many(messages(8))
        for turns in range(40):
            cancelled = asyncio.create_task(mailbox.dequeue(2))
            look = asyncio.create_task(mailbox.status())  # what comes behind it shares a commit
            for _ in range(turns):
                await asyncio.sleep(0)
            cancelled.cancel()
            claimed = await mailbox.dequeue(2)
            await look
            if cancelled.cancelled():
                assert [message.payload for message in claimed] == [b"0", b"1"]
            await mailbox._release([message.id for message in claimed])
            if not cancelled.cancelled():
                await mailbox._release([message.id for message in await cancelled])


async def test_a_snapshot_while_a_follower_begins_leaves_no_gap(servers: Servers, stream: str) -> None:
    one, other = await opened(servers, stream, "one"), await opened(servers, stream, "other")
    await one.enqueue_many(messages(8))
    assert (await other.status()).queued_messages == 8
    reached, gate = asyncio.Event(), asyncio.Event()
    real = other._link.api

    async def api(subject: str, *arguments: Any, **named: Any) -> Any:
        if subject.startswith("CONSUMER.CREATE"):
            reached.set()
            await gate.wait()
        return await real(subject, *arguments, **named)

    other._link.api = api
    other._replica._follower.restart()
    await reached.wait()
    held = await one.dequeue(4)
    await one.ack_many([record.id for record in held[:2]])
    await one._replica.write_snapshot()
    await one.enqueue(b"", b"late")
    gate.set()
    assert [record.payload for record in await other.dequeue(3)] == [b"4", b"5", b"6"]
    status = await other.status()
    assert (status.queued_messages, status.inflight_messages) == (2, 5)
    await other._replica.write_snapshot()
    assert await one.status() == await other.status()
    await one.close()
    await other.close()


async def test_a_snapshot_of_a_checkpoint_that_was_not_heard_is_a_gap(servers: Servers, stream: str) -> None:
    one, other = await opened(servers, stream, "one"), await opened(servers, stream, "other")
    await one.enqueue_many(messages(4))
    assert len(await other.dequeue(1)) == 1
    other._replica._follower._on_entry = lambda entry: None
    await one.ack_many([record.id for record in await one.dequeue(2)])
    await one._replica.write_snapshot()
    other._replica._follower._on_entry = other._replica._on_entry
    await one.enqueue(b"", b"late")
    await one._replica.write_snapshot()
    await until(lambda: same_state(one, other))
    await one.close()
    await other.close()


async def test_a_first_claim_that_is_lost_in_a_gap_goes_back(servers: Servers, stream: str) -> None:
    one, other = await opened(servers, stream, "one"), await opened(servers, stream, "other")
    await one.enqueue_many(messages(1))
    assert (await other.status()).queued_messages == 1
    other._replica._follower._generation += 1  # it hears nothing
    claim = asyncio.create_task(other.dequeue(1))
    await until(lambda: is_held(one, 1))
    await one._replica.write_snapshot()
    other._replica._follower.restart()
    with pytest.raises(ConnectionLostError):
        await claim
    await until(lambda: is_held(one, 0))
    await one.close()
    await other.close()


async def is_held(mailbox: Any, count: int) -> bool:
    """Whether holders have so many messages."""
    return bool((await mailbox.status()).inflight_messages == count)


async def test_what_others_publish_over_a_snapshot_hides_nothing(servers: Servers, client: Client, stream: str) -> None:
    one = await opened(servers, stream, "one")
    await one.enqueue_many(messages(4))
    await one.ack_many([record.id for record in await one.dequeue(2)])
    await one._replica.write_snapshot()
    for noise in (b"hello", b"", codec.MAGIC):
        await client.jetstream().publish(f"{stream}.m.inbox.s", noise)
    other = await opened(servers, stream, "other")
    assert sorted(letter.record.payload for letter in await other.dead_letters()) == [b"", b"hello", codec.MAGIC]
    assert await one.status() == await other.status()
    await one._replica.write_snapshot()
    last = await client.jetstream().get_last_msg(stream, f"{stream}.m.inbox.s")
    assert snapshots.decode_snapshot(last.data or b"") is not None
    third = await opened(servers, stream, "third")
    assert sorted(letter.record.payload for letter in await third.dead_letters()) == [b"", b"hello", codec.MAGIC]
    assert [record.payload for record in await third.dequeue()] == [b"2", b"3"]
    assert await one.status() == await other.status() == await third.status()
    for mailbox in (one, other, third):
        await mailbox.close()


async def test_a_snapshot_that_differs_is_told_by_every_verb(servers: Servers, client: Client, stream: str) -> None:
    """To who waits as well, and with the place of it; nobody starts from it."""
    one = await opened(servers, stream, "one")
    await one.enqueue_many(messages(2))
    (record,) = await one.dequeue(1)
    await one._replica.write_snapshot()
    waits = await opened(servers, stream, "waits")
    assert len(await waits.dequeue()) == 1
    waiting = asyncio.create_task(waits.dequeue(wait=SECONDS))
    looking = waits.changes()
    await anext(looking)
    await asyncio.sleep(0.3)  # nothing else is to be told
    look = asyncio.ensure_future(anext(looking))
    checkpoint, seq = one._replica.log.checkpoint, one._replica.log.seq
    forged = snapshots.encode_snapshot(checkpoint, seq - 1, bytes(32), zlib.compress(b"other"))
    at = (await client.jetstream().publish(f"{stream}.m.inbox.s", forged)).seq
    place = f"checkpoint {checkpoint} .message {at} "
    with pytest.raises(StorageCorruptError, match=place):
        await waiting
    with pytest.raises(StorageCorruptError, match=place):
        await asyncio.wait_for(look, SECONDS)
    for verb in (one.status, one.dequeue, one.peek, one.purge, one.dead_letters, one.recover):
        with pytest.raises(StorageCorruptError, match=place):
            await verb()
    with pytest.raises(StorageCorruptError, match=place):
        await one.ack(record.id)
    await one.close()
    await waits.close()
    late = await opened(servers, stream, "late")
    with pytest.raises(StorageCorruptError, match="checksum"):
        await late.status()
    await late.close()


async def test_what_is_stored_anew_after_its_claim_is_found(servers: Servers, stream: str) -> None:
    one, other = await opened(servers, stream, "one"), await opened(servers, stream, "other")
    await one.enqueue(b"me", b"old one")
    assert await one.status() == await other.status()
    bodies, gate = one._replica.bodies, asyncio.Event()
    bodies.forget()
    real = bodies._get

    async def get(seq: int) -> Any:
        await gate.wait()
        return await real(seq)

    bodies._get = get
    claim = asyncio.create_task(one.dequeue())
    await until(lambda: is_held(other, 1))
    await other._replica.move(list(other._replica.log.store.bodies.all()))
    await other._replica.write_snapshot()
    bodies.forget()
    gate.set()
    assert [(record.sender, record.payload) for record in await claim] == [(b"me", b"old one")]
    assert await other.dead_letters() == []
    await one.close()
    await other.close()


async def test_whoever_opens_a_mailbox_that_was_just_deleted_has_made_it_again(
    servers: Servers, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_again: list[Any] = []
    real = Replica.submit

    async def submit(at: Replica, call: Any) -> Any:
        result = await real(at, call)
        if call.pieces[-1][0] == codec.Op.RESET and not opened_again:
            opened_again.append(await opened(servers, stream, "again"))
        return result

    async with await opened(servers, stream, "one") as one:
        await one.enqueue(b"", b"gone")
    monkeypatch.setattr(Replica, "submit", submit)
    location = servers.location("inbox", stream)
    assert await delete_mailbox(location)
    assert await list_mailboxes(location) == ["inbox"]
    assert (await opened_again[0].status()).queued_messages == 0
    await opened_again[0].close()
    assert await delete_mailbox(location)
    assert await list_mailboxes(location) == []


@pytest.mark.parametrize("seconds", [3600, -3600])
async def test_a_wall_clock_that_is_set_makes_no_storm(
    seconds: int, servers: Servers, client: Client, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox = await opened(servers, stream, "one")
    await mailbox.enqueue(b"", b"much later", delay=1000)
    await mailbox.enqueue(b"", b"later", delay=1)
    await mailbox.status()
    for module in (replica, notifier):
        monkeypatch.setattr(module, "now_in_ms", lambda: now_in_ms() + seconds * 1000)
    before = (await client.jetstream().stream_info(stream)).state.last_seq
    assert [record.payload for record in await mailbox.dequeue(wait=SECONDS)] == [b"later"]
    assert await mailbox.dequeue(wait=0.5) == []
    assert (await client.jetstream().stream_info(stream)).state.last_seq - before < 10
    await mailbox.close()


async def test_parts_that_come_slowly_are_kept(servers: Servers, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "PARTS_KEPT_FOR", 600)
    monkeypatch.setattr(state, "PARTS_KEPT_FOR", 600)
    monkeypatch.setattr(cleaning, "_TOLD_AFTER", 0.1)
    slow, other = await opened(servers, stream, "slow"), await opened(servers, stream, "other")
    enqueue = asyncio.create_task(upload(slow))
    while not enqueue.done():
        await other.enqueue(b"", b"small")
        await other._replica.write_snapshot()
        await asyncio.sleep(0.1)
    await enqueue
    assert len([record for record in await other.dequeue(1000) if len(record.payload) == LARGE]) == 1
    assert await other.dead_letters() == []
    await slow.close()
    await other.close()


async def test_parts_that_come_too_slowly_are_told(
    servers: Servers, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "_TOLD_AFTER", 0.1)
    monkeypatch.setattr(cleaning, "_TOO_LATE", 0.2)
    slow = await opened(servers, stream, "slow")
    with pytest.raises(StorageUnavailableError, match="slowly") as error:
        await upload(slow)
    assert error.value.passing
    assert (await slow.status()).queued_messages == 0
    await slow.close()


LARGE = 6 * 1024 * 1024


async def upload(mailbox: Any) -> None:
    """Enqueue a large message, of which each part takes a while."""
    real = mailbox._link.publish

    async def publish(subject: str, *arguments: Any, **named: Any) -> Any:
        seq = await real(subject, *arguments, **named)
        if ".p." in subject:
            await asyncio.sleep(0.3)
        return seq

    mailbox._link.publish = publish
    await mailbox.enqueue(b"", bytes(LARGE))


async def same_state(one: Any, other: Any) -> bool:
    first, second = await one.status(), await other.status()
    return bool((first.queued_messages, first.inflight_messages) == (second.queued_messages, second.inflight_messages))


async def test_a_stream_that_another_program_makes_again_is_told_once(
    servers: Servers, client: Client, stream: str
) -> None:
    idle = await opened(servers, stream, "idle")
    await idle.enqueue_many(messages(20))
    assert len(await idle.dequeue(5)) == 5
    for _ in range(3):
        await idle._replica.write_snapshot()
    assert idle._replica.stragglers_before
    config = (await client.jetstream().stream_info(stream)).config
    assert await client.jetstream().delete_stream(stream)
    await client.jetstream().add_stream(config)
    await until(lambda: is_told(idle))
    assert not idle._replica.stragglers_before
    assert not idle._replica.settled_parts(1, 1 << 60, 0)
    assert (await idle.status()).queued_messages == 0
    await idle.enqueue(b"", b"new")
    assert [record.payload for record in await idle.dequeue()] == [b"new"]
    await idle.close()


@pytest.mark.parametrize("by", ["nobody", "another program"])
async def test_a_snapshot_of_a_stream_that_was_deleted_gets_into_no_other(
    by: str, servers: Servers, client: Client, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever began with it would have messages without bytes, and miss new ones."""
    idle = await opened(servers, stream, "idle")
    await idle.enqueue_many(messages(3))
    assert len(await idle.dequeue(1)) == 1
    config = (await client.jetstream().stream_info(stream)).config
    take = snapshots.take

    async def take_too_long(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(snapshots, "take", take)
        taken = await take(*arguments, **named)
        assert await client.jetstream().delete_stream(stream)
        if by != "nobody":
            await client.jetstream().add_stream(config)
        return taken

    monkeypatch.setattr(snapshots, "take", take_too_long)
    await idle._replica.write_snapshot()
    async with open_mailbox(servers.location("inbox", stream), connect={"name": "newcomer"}) as newcomer:
        assert await counts(client, stream, f"{stream}.m.*.s") == {}
        await newcomer.enqueue(b"", b"new")
        assert [record.payload for record in await newcomer.dequeue(3)] == [b"new"]
    await idle.close()


async def is_told(mailbox: Any) -> bool:
    """Whether a verb has said that the stream is another one."""
    if not mailbox._link.wipes:
        return False
    with pytest.raises(StorageUnavailableError, match="deleted"):
        await mailbox.dequeue()
    return True


async def test_a_relay_follows_nothing_but_its_cursor(servers: Servers, stream: str, client: Client) -> None:
    """Of many relays into one mailbox, each would hear all that the others send."""
    async with open_mailbox("memory://") as source, open_mailbox(servers.location("inbox", stream)) as target:
        one = relay(source, target)
        relaying = asyncio.create_task(one)
        await source.enqueue(b"", b"hello")

        async def is_sent() -> bool:
            return (await one.status()).sent == 1

        await until(is_sent)
        assert (await client.jetstream().stream_info(stream)).state.consumer_count == 1
        one.stop()
        await relaying


@pytest.mark.parametrize("commits", [0, 40])
async def test_a_stream_that_lost_its_end_is_followed_again(stream: str, tmp_path: Path, commits: int) -> None:
    with Servers(1) as servers:
        one = await opened(servers, stream, "one", lease=600)
        await one.enqueue_many(messages(6))
        (first,) = await one.dequeue(1)
        (server,) = servers.servers
        server.kill()
        store = servers._folder / server.name / "store"
        shutil.copytree(store, tmp_path / "kept")
        servers.start()
        await one.ack_many([record.id for record in await one.dequeue(2)])
        for _ in range(4):
            await one.status()
        server.kill()
        shutil.rmtree(store)
        shutil.copytree(tmp_path / "kept", store)
        servers.start()
        async with open_mailbox(servers.location("inbox", stream), connect={"name": "other"}) as other:
            for _ in range(commits):
                await other.status()
            await until(lambda: same_state(one, other))
            assert (await other.status()).queued_messages == 6
            assert not await one.nack(first.id)
            taken = [record.payload for record in [*await one.dequeue(3), *await other.dequeue(3)]]
            assert sorted(taken) == [b"0", b"1", b"2", b"3", b"4", b"5"]
        await one.close()
