"""Commits whose connection is lost or whose outcome stays unknown, and what others write: nothing happens twice."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from nats.aio.client import Client

from pymailbox import (
    ConnectionLostError,
    Mailbox,
    MailboxError,
    MessageRecord,
    NewMessage,
    StorageFullError,
    StorageUnavailableError,
    delete_mailbox,
    export,
    import_,
    list_mailboxes,
    open_mailbox,
)
from pymailbox.backends.jetstream import JetStreamMailbox, link, page, writer
from pymailbox.backends.jetstream import mailbox as mailbox_module
from pymailbox.backends.jetstream.cleaning import store_parts
from pymailbox.backends.jetstream.errors import CutOffError, NotThereError, RefusedError, TimedOutError
from pymailbox.backends.jetstream.link import Piece
from tests.nats.proxy import Proxy
from tools.nats_servers import Servers
from tools.serve import HOST

SERVERS = ("one",)

SHORT = 1.0
"""Seconds, in place of the minute after which an outcome stays unknown."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(link, "PATIENCE", SHORT)
    monkeypatch.setattr(writer, "PATIENCE", SHORT)
    return monkeypatch


@pytest.fixture
def proxy(servers: Servers) -> Iterator[Proxy]:
    with Proxy(servers.addresses) as proxy:
        yield proxy


@pytest.fixture
async def direct(servers: Servers, stream: str) -> AsyncIterator[Mailbox]:
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        yield mailbox


@pytest.fixture
async def cut(servers: Servers, proxy: Proxy, stream: str) -> AsyncIterator[Mailbox]:
    """A handle on the same mailbox by way of the proxy."""
    async with open_mailbox(servers.location("inbox", stream, at=proxy.address)) as mailbox:
        yield mailbox


async def test_nothing_is_sent_after_its_caller_was_told(
    proxy: Proxy, cut: Mailbox, direct: Mailbox, client: Client, stream: str, impatient: pytest.MonkeyPatch
) -> None:
    arrived = await client.subscribe(f"{stream}.m.inbox.in")
    proxy.cut(refuse=True)
    with pytest.raises(ConnectionLostError):
        await cut.enqueue(b"", b"late")
    gc.collect()  # attempts to connect that were left open complain here
    impatient.undo()
    proxy.mend()
    assert await cut.dequeue() == []  # it is connected again
    assert arrived.pending_msgs == 0
    assert await direct.peek() == []


@pytest.mark.parametrize("block", [b"NATS/1.0", b"NATS/1.0 \xff\xff\xff\r\n\r\n", b"\xff"])
async def test_a_mailbox_outlives_headers_that_are_none(
    block: bytes, servers: Servers, direct: Mailbox, stream: str
) -> None:
    assert await direct.dequeue() == []
    reader, to_server = await asyncio.open_connection(HOST, servers.servers[0].port)
    to_server.write(b'CONNECT {"verbose":false,"headers":true}\r\n')
    to_server.write(b"HPUB %s.m.inbox.in %d %d\r\n" % (stream.encode(), len(block), len(block) + 5))
    to_server.write(block + b"hello\r\nPING\r\n")
    while b"PONG" not in await reader.readline():
        pass
    to_server.close()
    await to_server.wait_closed()
    async with asyncio.timeout(5):
        await direct.enqueue(b"", b"after")
        assert [record.payload for record in await direct.dequeue()][-1] == b"after"


# -- unknown outcomes --------------------------------------------------------------------------------------------------


Sending = tuple[str, bytes, dict[str, str] | None]


def hold_back(mailbox: Mailbox, part: str, patch: pytest.MonkeyPatch) -> list[Sending]:
    """Keeps what a handle sends on subjects with `part` in them from getting there."""
    assert isinstance(mailbox, JetStreamMailbox)
    kept: list[Sending] = []
    start = mailbox._link.start

    async def hold(subject: str, data: bytes, headers: dict[str, str] | None, *before: Any) -> Any:
        if part not in subject:
            return await start(subject, data, headers, *before)
        kept.append((subject, data, headers))
        raise CutOffError

    patch.setattr(mailbox._link, "start", hold)
    return kept


async def lose_a_step(mailbox: Mailbox, target: Mailbox, patience: pytest.MonkeyPatch) -> tuple[MessageRecord, Sending]:
    """A message whose step to another mailbox did not get to the server, and what is a late copy of it."""
    await mailbox.enqueue(b"", b"hello")
    (record,) = await mailbox.dequeue()
    with patience.context() as patch:
        kept = hold_back(mailbox, ".x.", patch)
        with pytest.raises(ConnectionLostError, match="unknown"):
            await mailbox.ack_and_send(record.id, [(target, NewMessage(b"", b"sent on"))])
    patience.undo()
    return record, kept[0]


async def test_a_late_copy_of_a_step_is_refused(
    servers: Servers, direct: Mailbox, client: Client, stream: str, impatient: pytest.MonkeyPatch
) -> None:
    async with open_mailbox(servers.location("outbox", stream)) as outbox:
        record, (subject, data, headers) = await lose_a_step(direct, outbox, impatient)
        assert await direct.nack(record.id)
        answer = await client.request(subject, data, headers=headers, timeout=5)
        assert b"wrong last sequence" in answer.data
        assert await outbox.dequeue() == []
        assert [again.payload for again in await direct.dequeue()] == [b"hello"]


async def test_a_late_copy_of_a_step_that_nothing_follows_is_the_step(
    servers: Servers, direct: Mailbox, client: Client, stream: str, impatient: pytest.MonkeyPatch
) -> None:
    async with open_mailbox(servers.location("outbox", stream)) as outbox:
        await outbox.status()
        record, (subject, data, headers) = await lose_a_step(direct, outbox, impatient)
        assert b"error" not in (await client.request(subject, data, headers=headers, timeout=5)).data
        assert not await direct.nack(record.id)
        assert not await direct.ack_and_send(record.id, [(outbox, NewMessage(b"", b"sent on"))])
        assert [again.payload for again in await outbox.dequeue()] == [b"sent on"]
        assert await direct.dequeue() == []


async def test_what_a_claim_gave_that_nobody_waits_for_goes_back(
    servers: Servers, direct: Mailbox, client: Client, stream: str, impatient: pytest.MonkeyPatch
) -> None:
    await direct.enqueue_many([NewMessage(b"", b"1"), NewMessage(b"", b"2")])
    assert len(await direct.dequeue(1)) == 1
    assert isinstance(direct, JetStreamMailbox)
    with impatient.context() as patch:
        told: list[tuple[str, bytes]] = []

        def tell(subject: str, data: bytes = b"") -> None:
            told.append((subject, data))

        patch.setattr(direct._link, "tell", tell)
        hold_back(direct, ".m.", patch)
        with pytest.raises(ConnectionLostError):
            await direct.dequeue(1)
    impatient.undo()
    for subject, data in told:
        await client.publish(subject, data)
    await client.flush()
    async with open_mailbox(servers.location("inbox", stream)) as other:
        assert [record.payload for record in await other.dequeue(wait=5)] == [b"2"]


async def test_a_refusal_after_an_attempt_that_may_have_been_stored_is_no_refusal(
    direct: Mailbox, impatient: pytest.MonkeyPatch
) -> None:
    assert isinstance(direct, JetStreamMailbox)
    start, attempts = direct._link.start, 0

    async def refuse(subject: str, data: bytes, headers: dict[str, str] | None, *before: Any) -> Any:
        nonlocal attempts
        attempts += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if attempts == 1:
            number, _ = await start(subject, data, headers, *before)
            answer.set_exception(CutOffError())
        else:
            number, full = "", RefusedError({"err_code": 10077, "description": "maximum bytes exceeded"})
            answer.set_exception(full)
        answer.exception()
        return number, answer

    with impatient.context() as patch:
        patch.setattr(direct._link, "start", refuse)
        with pytest.raises(ConnectionLostError, match="maximum bytes"):
            await direct.enqueue(b"", b"stored")
    assert [record.payload for record in await direct.dequeue()] == [b"stored"]


async def test_a_batch_that_lost_a_piece_is_sent_again(direct: Mailbox, impatient: pytest.MonkeyPatch) -> None:
    assert isinstance(direct, JetStreamMailbox)
    start = direct._link.start
    lost: list[Piece] = []

    async def lose(subject: str, data: bytes, headers: dict[str, str] | None, before: Sequence[Piece] = ()) -> Any:
        if before and not lost:
            lost.append(before[0])
            before = before[1:]
        return await start(subject, data, headers, before)

    with impatient.context() as patch:
        patch.setattr(direct._link, "start", lose)
        await direct.enqueue_many([NewMessage(b"", bytes(700_000))] * 2)
    assert lost
    assert len(await direct.dequeue()) == 2


async def test_a_step_does_not_wait_for_a_target_that_is_closed(servers: Servers, direct: Mailbox, stream: str) -> None:
    await direct.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(8)])
    async with asyncio.timeout(10):
        for turns, record in enumerate(await direct.dequeue()):
            outbox = await open_mailbox(servers.location("outbox", stream))
            await outbox.status()
            step = asyncio.create_task(direct.ack_and_send(record.id, [(outbox, NewMessage(b"", b"sent on"))]))
            for _ in range(turns + 1):
                await asyncio.sleep(0)
            await outbox.close()
            assert await step


# -- what is larger than one message of the stream ---------------------------------------------------------------------

LONG = "ü" * 700_000


async def test_texts_of_any_length(servers: Servers, direct: Mailbox, stream: str) -> None:
    await direct.enqueue_many([NewMessage(b"", b"nacked"), NewMessage(b"", b"buried")])
    nacked, buried = await direct.dequeue()
    assert await direct.nack(nacked.id, error=LONG)
    assert await direct.dead_letter(buried.id, LONG)
    (letter,) = await direct.dead_letters()
    assert letter.reason == LONG
    async with open_mailbox(servers.location("copy", stream)) as copy:
        assert (await import_(copy, [line async for line in export(direct)])).stored == 2
        assert (await copy.dead_letters())[0].reason == LONG


async def test_ids_of_any_number(direct: Mailbox) -> None:
    await direct.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(2)])
    first, second = await direct.dequeue()
    others = [uuid4() for _ in range(70_000)]
    assert await direct.nack(first.id, delay=1000)
    assert await direct.promote([*others, first.id]) == 1
    assert [again.id for again in await direct.dequeue(ack=[*others, second.id])] == [first.id]
    assert await direct.ack_many([*others, first.id]) == 1
    status = await direct.status()
    assert status.queued_messages == status.inflight_messages == 0


# -- closing, and signs of life ----------------------------------------------------------------------------------------


@pytest.fixture
async def holder(
    servers: Servers, proxy: Proxy, direct: Mailbox, stream: str, monkeypatch: pytest.MonkeyPatch
) -> Mailbox:
    """It holds a message, and soon gives up giving it back."""
    monkeypatch.setattr(mailbox_module, "_GOODBYE", 0.3)
    await direct.enqueue(b"", b"hello")
    holder = await open_mailbox(servers.location("inbox", stream, at=proxy.address))
    assert len(await holder.dequeue()) == 1
    return holder


async def test_a_handle_is_closed_while_the_server_is_away(proxy: Proxy, holder: Mailbox) -> None:
    proxy.cut(refuse=True)
    async with asyncio.timeout(5):
        await holder.close()


async def test_a_handle_is_closed_while_the_servers_elect_a_leader(
    proxy: Proxy, direct: Mailbox, holder: Mailbox
) -> None:
    """Its connection is there, and nothing is answered for longer than a server that is away is waited for."""
    proxy.stall()
    closing = asyncio.create_task(holder.close())
    await asyncio.sleep(1)
    assert not closing.done()
    proxy.mend()
    await closing
    assert (await direct.status()).inflight_messages == 0


LOOKS: dict[str, Callable[[Mailbox, UUID], Awaitable[Any]]] = {
    "peek": lambda mailbox, _: mailbox.peek(),
    "get": lambda mailbox, message_id: mailbox.get(message_id),
    "dead_letters": lambda mailbox, _: mailbox.dead_letters(),
    "a page of an export": lambda mailbox, _: cast(Any, mailbox)._read_section(None, 0, None),
    "dequeue": lambda mailbox, _: mailbox.dequeue(),
    "storage_report": lambda mailbox, _: mailbox.storage_report(),
}


@pytest.mark.parametrize("verb", LOOKS)
async def test_close_waits_for_what_is_still_being_fetched(
    verb: str, servers: Servers, direct: Mailbox, stream: str
) -> None:
    await direct.enqueue(b"", b"dead")
    (record,) = await direct.dequeue()
    await direct.dead_letter(record.id, "no good")
    message_id = await direct.enqueue(b"", b"hello")
    mailbox: Any = await open_mailbox(servers.location("inbox", stream), connect={"name": "another"})
    await mailbox.status()
    asked, gate = asyncio.Event(), asyncio.Event()
    ask = mailbox._link.ask

    async def slowly(subject: str, *args: Any, **named: Any) -> Any:
        if "DIRECT.GET" in subject or verb == "storage_report":
            asked.set()
            await gate.wait()
        return await ask(subject, *args, **named)

    mailbox._link.ask = slowly
    call = asyncio.ensure_future(LOOKS[verb](mailbox, message_id))
    await asked.wait()
    closing = asyncio.create_task(mailbox.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    gate.set()
    assert await call
    await closing


async def test_signs_of_life_do_not_wait_for_an_upload(
    servers: Servers, direct: Mailbox, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        open_mailbox(servers.location("inbox", stream), lease=1) as slow,
        open_mailbox(servers.location("outbox", stream)) as outbox,
    ):
        await direct.enqueue(b"", b"hello")
        (record,) = await slow.dequeue()

        async def slowly(*args: Any) -> tuple[int, ...]:
            await asyncio.sleep(2)
            return await store_parts(*args)

        monkeypatch.setattr(mailbox_module, "store_parts", slowly)
        step = asyncio.create_task(slow.ack_and_send(record.id, [(outbox, NewMessage(b"", bytes(2_000_000)))]))
        assert await direct.dequeue(wait=1.5) == []
        assert await step


@pytest.mark.parametrize("ask", [list_mailboxes, delete_mailbox, Mailbox.storage_report])
@pytest.mark.parametrize("what", [RefusedError({"err_code": 1}), TimedOutError(), NotThereError(), CutOffError()])
async def test_what_goes_wrong_has_a_type(
    ask: Any, what: Exception, servers: Servers, direct: Mailbox, stream: str, impatient: pytest.MonkeyPatch
) -> None:
    impatient.setattr(link, "PATIENCE", 0.1)
    api = link.Link.api

    async def refuse(self: link.Link, subject: str, *args: Any, **named: Any) -> Any:
        if subject.startswith("STREAM.INFO") and (args or ask is Mailbox.storage_report):
            raise what
        return await api(self, subject, *args, **named)

    impatient.setattr(link.Link, "api", refuse)
    with pytest.raises(MailboxError):
        await ask(direct if ask is Mailbox.storage_report else servers.location("inbox", stream))


async def test_calls_keep_their_order_though_the_first_has_to_follow(direct: Mailbox) -> None:
    class Observer:
        def on_depth_change(self, depth: int) -> None:
            pass

    direct.set_depth_observer(Observer())
    first = asyncio.create_task(direct.enqueue(b"", b"1"))
    await asyncio.sleep(0)
    direct.set_depth_observer(None)
    await direct.enqueue(b"", b"2")
    await first
    assert [record.payload for record in await direct.dequeue()] == [b"1", b"2"]


async def test_a_refused_subject_of_a_batch_is_named(servers: Servers, direct: Mailbox, stream: str) -> None:
    assert isinstance(direct, JetStreamMailbox)
    refused = f"{stream}.m.inbox.h.1"
    number, answer = await direct._link.start(f"{stream}.nowhere", b"", None, [Piece(refused, b"", {})])
    told = f'nats: permissions violation for publish to "{refused.lower()}"'
    await direct._link._on_error(Exception(told))
    with pytest.raises(StorageUnavailableError, match=refused):
        await answer
    direct._link.forget(number)


async def test_who_waits_is_told_that_the_client_has_given_up(direct: Mailbox) -> None:
    await direct.status()
    waiting = asyncio.create_task(direct.dequeue(wait=math.inf))
    await asyncio.sleep(0.2)
    assert isinstance(direct, JetStreamMailbox)
    await direct._link._nc.close()
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionLostError, match="for good"):
            await waiting


async def test_a_client_that_has_given_up_is_told_at_once(direct: Mailbox) -> None:
    assert isinstance(direct, JetStreamMailbox)
    await direct.status()
    await direct._link._nc.close()
    async with asyncio.timeout(5):
        for call in (direct.status, direct.dequeue, direct.storage_report):
            with pytest.raises(ConnectionLostError, match="closed for good"):
                await call()


async def test_what_a_full_server_refuses_is_told_as_that(direct: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the first attempt is only to be heard."""
    assert isinstance(direct, JetStreamMailbox)
    await direct.enqueue(b"", b"hello")
    (record,) = await direct.dequeue()
    full: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    full.set_exception(RefusedError({"err_code": 10047, "description": "insufficient storage"}))
    full.exception()

    def nothing(*_: Any) -> None:
        pass

    async def refuse(*_: Any) -> Any:
        return "", full

    with monkeypatch.context() as patch:
        patch.setattr(direct._link, "tell", nothing)
        patch.setattr(direct._link, "start", refuse)
        with pytest.raises(StorageFullError):
            await direct.ack(record.id)
    assert await direct.ack(record.id)


async def test_a_claim_under_way_goes_back_when_its_handle_is_closed(
    servers: Servers, direct: Mailbox, stream: str
) -> None:
    await direct.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(8)])
    await direct.status()
    for turns in range(8):
        mailbox = await open_mailbox(servers.location("inbox", stream))
        await mailbox.status()
        claim = asyncio.create_task(mailbox.dequeue(1))
        for _ in range(turns):
            await asyncio.sleep(0)
        claim.cancel()
        await asyncio.gather(claim, return_exceptions=True)
        await mailbox.close()
    assert (await direct.status()).inflight_messages == 0


async def test_a_page_that_is_left_makes_its_steps_under_way_void(
    servers: Servers, client: Client, direct: Mailbox, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back, and sends a step of unknown outcome again: its message may be another's by then."""
    await direct.enqueue(b"", b"work")
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        assert isinstance(mailbox, JetStreamMailbox)
        assert len(await mailbox.dequeue()) == 1
        fences, before = mailbox._replica.log.fences, dict(mailbox._replica.log.fences)
        written: list[tuple[str, bytes]] = []
        monkeypatch.setattr(mailbox._link, "leave", written.extend)
        page._leave(mailbox._link)
        for subject, data in written:
            await client.jetstream().publish(subject, data)
        assert (await mailbox.status()).inflight_messages == 0
        assert fences[mailbox._number] > before[mailbox._number]
