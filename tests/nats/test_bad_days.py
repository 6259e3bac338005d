"""What goes wrong around a mailbox on JetStream: each is a typed error that says what to do, and nothing is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from pymailbox import (
    ConnectionLostError,
    Mailbox,
    MessagePriority,
    NewMessage,
    StorageUnavailableError,
    list_mailboxes,
    open_mailbox,
)
from pymailbox.backends.jetstream import codec, credentials, link, snapshots, writer
from tests.nats.asking import SECONDS, api
from tests.nats.fake_server import fake_server
from tests.nats.proxy import Proxy
from tools.nats_servers import PASSWORDS, Server, Servers, free_ports, wait_for
from tools.serve import HOST

SERVERS = ("one",)


# -- locations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("nats:///inbox", "HOST"),
        ("nats://127.0.0.1", "NAME"),
        ("nats://127.0.0.1/", "NAME"),
        ("nats://127.0.0.1:0/inbox", "port"),
        ("nats://127.0.0.1:70000/inbox", "port"),
        ("nats://127.0.0.1/inbox?streem=other", "streem"),
        ("nats://127.0.0.1/inbox?stream=a.b", "stream"),
        ("nats://127.0.0.1/inbox?stream=", "stream"),
        ("nats://127.0.0.1/inbox?replicas=none", "replicas"),
        ("nats://127.0.0.1/inbox?replicas=0", "replicas"),
        ("nats://alice:secret@127.0.0.1/inbox", "password"),
    ],
)
async def test_a_location_that_breaks_a_rule(location: str, named: str) -> None:
    with pytest.raises(ValueError, match=named) as refused:
        await open_mailbox(location)
    assert "secret" not in str(refused.value)


async def test_an_unknown_key_is_told_before_anything_is_created(servers: Servers, client: Client, stream: str) -> None:
    with pytest.raises(ValueError, match="durable"):
        await open_mailbox(f"nats://{servers.addresses}/inbox?stream={stream}&durable=yes")
    assert not await exists(client, stream)


async def test_more_replicas_than_servers(servers: Servers, client: Client, stream: str) -> None:
    with pytest.raises(ValueError, match="replicas=3"):
        await open_mailbox(f"nats://{servers.addresses}/inbox?stream={stream}&replicas=3")
    assert not await exists(client, stream)


async def exists(client: Client, stream: str) -> bool:
    return "error" not in await api(client, f"STREAM.INFO.{stream}")


@pytest.mark.parametrize("connect", ["user", {1: 2}, [("user", "alice")]])
async def test_connect_is_a_mapping_of_names(connect: Any) -> None:
    with pytest.raises(TypeError, match="connect"):
        await open_mailbox("nats://127.0.0.1/inbox", connect=connect)


async def test_connect_is_for_servers() -> None:
    with pytest.raises(ValueError, match="connect"):
        await open_mailbox("memory://inbox", connect={"user": "alice"})


# -- servers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("connect", "seconds"), [({}, 10), ({"connect_timeout": 0.5}, 0.5)])
async def test_no_server_there(connect: dict[str, Any], seconds: float) -> None:
    (port,) = free_ports(1)
    began = time.monotonic()
    with pytest.raises(StorageUnavailableError, match=f"{HOST}:{port} within {seconds} seconds") as error:
        await open_mailbox(f"nats://{HOST}:{port}/inbox", connect=connect)
    assert seconds <= time.monotonic() - began < seconds + 10
    assert error.value.passing


@pytest.mark.parametrize(("seconds", "error"), [("10", TypeError), (True, TypeError), (0, ValueError)])
async def test_a_wait_for_a_server_is_a_number_of_seconds(seconds: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="connect_timeout"):
        await open_mailbox(f"nats://{HOST}:1/inbox", connect={"connect_timeout": seconds})


@pytest.fixture
def without_jetstream(tmp_path: Path) -> Iterator[Server]:
    """A server as it comes, without JetStream."""
    ports = free_ports(3)
    server = Server("plain", tmp_path / "plain", f"listen: {HOST}:{ports[0]}", ports)
    server.start()
    try:
        wait_for([server], server.is_ready, "the server without JetStream is not ready")
        yield server
    finally:
        server.kill()


async def test_a_server_without_jetstream(without_jetstream: Server) -> None:
    with pytest.raises(StorageUnavailableError, match="JetStream"):
        await open_mailbox(f"nats://{without_jetstream.address}/inbox")


@pytest.mark.parametrize("version", ["2.9.10", "2.11.9"])
async def test_a_server_that_is_too_old(version: str) -> None:
    async with fake_server(version=version) as address:
        with pytest.raises(StorageUnavailableError, match=rf"{version}.*2\.12"):
            await open_mailbox(f"nats://{address}/inbox")


async def test_a_wrong_password(servers: Servers, stream: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    began = time.monotonic()
    connect = {"user": "mailboxes", "password": "not-the-one"}
    with pytest.raises(StorageUnavailableError, match=r"(?i)authorization") as error:
        await open_mailbox(servers.location("inbox", stream), connect=connect)
    assert time.monotonic() - began < 3
    seen: BaseException | None = error.value
    while seen is not None:
        assert "not-the-one" not in f"{seen!r} {seen}"
        seen = seen.__cause__ or seen.__context__
    assert "not-the-one" not in caplog.text


@pytest.mark.parametrize("refusal", ["User Authentication Expired", "Account Authentication Expired"])
async def test_credentials_that_have_expired(refusal: str) -> None:
    began = time.monotonic()
    async with fake_server(refusal, version="2.15.1", auth_required=True) as address:
        with pytest.raises(StorageUnavailableError, match=r"(?i)expired") as error:
            await open_mailbox(f"nats://{address}/inbox", connect={"token": "not-shown"})
    assert time.monotonic() - began < 3
    assert not error.value.passing


@pytest.mark.parametrize("option", ["user_credentials", "nkeys_seed", "nkeys_seed_str"])
async def test_keys_without_what_signs(
    option: str, servers: Servers, client: Client, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told before anything is created."""
    monkeypatch.setattr(credentials, "find_spec", lambda name: None)
    with pytest.raises(StorageUnavailableError, match=rf"{option}.*nats-py\[nkeys\]") as error:
        await open_mailbox(servers.location("inbox", stream), connect={option: "a secret"})
    assert "a secret" not in str(error.value)
    assert not await exists(client, stream)
    monkeypatch.setattr(credentials, "IN_PYODIDE", True)
    with pytest.raises(StorageUnavailableError, match=rf"{option}.*micropip.*pip wheel --no-deps nkeys"):
        credentials.check_keys({option: "a secret"})


@pytest.mark.parametrize("there", ["no file", "something else", "half of it"])
async def test_a_file_that_has_no_credentials(there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nats-py would read it for ever."""
    monkeypatch.setattr(credentials, "find_spec", lambda name: object())
    file = tmp_path / "alice.creds"
    if there != "no file":
        text = "a secret\n" if there == "something else" else "-----BEGIN NATS USER JWT-----\na secret\n"
        file.write_text(text, "utf-8")
    for given in (file, str(file)) if there != "no file" else (file, (file, file)):
        with pytest.raises(ValueError, match=r"user_credentials.*alice\.creds") as error:
            await open_mailbox(f"nats://{HOST}:1/inbox", connect={"user_credentials": given})
        assert "a secret" not in str(error.value)


@pytest.mark.parametrize("option", ["user_credentials", "nkeys_seed"])
@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN NATS USER JWT-----\neyJ0eXAi\n-----BEGIN USER NKEY SEED-----\nSUACSECRET\n",
        "SUAC" + "SECRET77" * 7,
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.SUACSECRET." + "x" * 300,
    ],
)
async def test_a_secret_that_is_given_as_the_name_of_its_file_is_not_shown(
    secret: str, option: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setattr(credentials, "find_spec", lambda name: object())
    for given in (secret, (secret, secret)) if option == "user_credentials" else (secret,):
        with pytest.raises(ValueError, match=f"{option} in connect must name") as error:
            await open_mailbox(f"nats://{HOST}:1/inbox", connect={option: given})
        assert error.value.__cause__ is error.value.__context__ is None
        assert "SECRET" not in f"{error.value!r}{caplog.text}"


async def test_a_seed_that_is_none_is_told() -> None:
    with pytest.raises(StorageUnavailableError, match="invalid seed") as error:
        await open_mailbox(f"nats://{HOST}:1/inbox", connect={"nkeys_seed_str": "SUACSECRET"})
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize("files", [(), ("one",), ("one", "two", "three")])
async def test_credentials_are_in_one_file_or_in_two(files: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "find_spec", lambda name: object())
    with pytest.raises(ValueError, match=f"user_credentials.* two files, not {len(files)}"):
        await open_mailbox(f"nats://{HOST}:1/inbox", connect={"user_credentials": files})


async def test_a_password_is_not_shown(servers: Servers, stream: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    password = PASSWORDS["MAILBOXES_PASSWORD"]
    connect = {"user": "mailboxes", "password": password}
    async with open_mailbox(servers.location("inbox", stream), connect=connect) as mailbox:
        await mailbox.enqueue(b"", b"hello")
        assert password not in repr(mailbox) + repr(vars(mailbox))
    assert password not in caplog.text


# -- users ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[Servers]:
    """A server that lets in nobody without a name."""
    with Servers(1, anonymous=False) as servers:
        yield servers


MAILBOXES = {"user": "mailboxes", "password": PASSWORDS["MAILBOXES_PASSWORD"]}
ALICE = {"user": "alice", "password": PASSWORDS["ALICE_PASSWORD"], "inbox_prefix": b"_INBOX_alice"}


async def test_a_page_works_on_its_own_mailboxes(guarded: Servers) -> None:
    location = guarded.location("inbox", "alice")
    async with open_mailbox(location, connect=MAILBOXES) as program:
        await program.enqueue(b"program", b"one")
    async with (
        open_mailbox(location, connect=ALICE) as inbox,
        open_mailbox(guarded.location("outbox", "alice"), connect=ALICE) as outbox,
    ):
        await inbox.enqueue(b"alice", b"two")
        first, second = await inbox.dequeue()
        assert await inbox.ack_and_send(first.id, [(outbox, NewMessage(b"", b"three"))])
        assert await inbox.nack(second.id)
        assert [record.payload for record in await outbox.dequeue()] == [b"three"]
        assert (await inbox.status()).queued_messages == 1
    assert await list_mailboxes(location, connect=ALICE) == ["inbox", "outbox"]


async def test_a_subject_that_a_user_may_not_touch_is_named(guarded: Servers) -> None:
    async with open_mailbox(guarded.location("inbox", "bob"), connect=MAILBOXES):
        pass
    began = time.monotonic()
    with pytest.raises(StorageUnavailableError, match=r"\$JS\.API\.STREAM\.INFO\.bob"):
        await open_mailbox(guarded.location("inbox", "bob"), connect=ALICE)
    assert time.monotonic() - began < 3


async def test_a_user_that_may_not_hear_answers_is_told(guarded: Servers) -> None:
    """At once, and by the subject."""
    began = time.monotonic()
    with pytest.raises(StorageUnavailableError, match=r"'_INBOX\..*inbox_prefix"):
        await open_mailbox(guarded.location("inbox", "alice"), connect=ALICE | {"inbox_prefix": b"_INBOX"})
    assert time.monotonic() - began < 3


# -- the stream -------------------------------------------------------------------------------------------------------


async def test_a_stream_in_another_shape_is_left_as_it_is(servers: Servers, client: Client, stream: str) -> None:
    theirs = {
        "name": stream,
        "subjects": [f"{stream}.*"],
        "storage": "memory",
        "max_age": 10**12,
        "retention": "workqueue",
    }
    before = (await api(client, f"STREAM.CREATE.{stream}", theirs))["config"]
    with pytest.raises(StorageUnavailableError) as error:
        await open_mailbox(servers.location("inbox", stream))
    text = str(error.value)
    for setting in ("subjects", "storage", "max_age", "retention", "'workqueue'", "'limits'", "'memory'", "'file'"):
        assert setting in text
    assert (await api(client, f"STREAM.INFO.{stream}"))["config"] == before


async def test_a_stream_with_fewer_replicas(three: Servers, stream: str) -> None:
    three.start()
    async with open_mailbox(f"nats://{three.addresses}/inbox?stream={stream}&replicas=1"):
        pass
    with pytest.raises(StorageUnavailableError, match=r"num_replicas.*1.*3"):
        await open_mailbox(three.location("inbox", stream))


async def test_mailboxes_of_a_stream_commit_together_however_they_are_written(three: Servers, stream: str) -> None:
    """Only one says on how many servers the stream is, and they name these in another order."""
    three.start()
    reversed_hosts = ",".join(reversed(three.addresses.split(",")))
    async with (
        open_mailbox(three.location("inbox", stream)) as inbox,
        open_mailbox(f"nats://{reversed_hosts}/outbox?stream={stream}") as outbox,
    ):
        await inbox.enqueue(b"", b"hello")
        (record,) = await inbox.dequeue()
        assert await inbox.ack_and_send(record.id, [(outbox, NewMessage(b"", b"sent on"))])
        with pytest.raises(StorageUnavailableError, match=r"num_replicas.*3.*2"):
            await open_mailbox(f"nats://{three.addresses}/other?stream={stream}&replicas=2")


async def test_a_stream_that_is_deleted_is_told_once(servers: Servers, client: Client, stream: str) -> None:
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(3)])
        (record,) = await mailbox.dequeue(1)
        assert (await api(client, f"STREAM.DELETE.{stream}"))["success"]
        with pytest.raises(StorageUnavailableError, match=stream):
            await mailbox.enqueue(b"", b"lost")
        assert (await mailbox.status()).queued_messages == 0
        assert not await mailbox.ack(record.id)
        await mailbox.enqueue(b"", b"new")
        assert [record.payload for record in await mailbox.dequeue()] == [b"new"]


@pytest.mark.parametrize("kind", ["a commit", "a step", "a snapshot"])
async def test_newer_rules_are_not_guessed_at(
    kind: str, servers: Servers, client: Client, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = servers.location("inbox", stream)
    known = codec.RULES
    async with open_mailbox(location):
        pass
    if kind == "a snapshot":
        with monkeypatch.context() as later:
            later.setattr(snapshots, "RULES", known + 1)
            data = snapshots.encode_snapshot(1, 1, bytes(32), b"of another form")
        await client.jetstream().publish(f"{stream}.m.inbox.s", data)
    else:
        subject = "m.inbox.c" if kind == "a commit" else "x.other.inbox"
        await client.jetstream().publish(f"{stream}.{subject}", codec.encode(bytes(8), 1, [], rules=known + 1))
    before = (await api(client, f"STREAM.INFO.{stream}"))["state"]["messages"]
    async with open_mailbox(location) as mailbox:
        with pytest.raises(StorageUnavailableError, match=rf"\b{known + 1}\b.*\b{known}\b"):
            await mailbox.dequeue()
        with pytest.raises(StorageUnavailableError):
            await mailbox.status()
    assert (await api(client, f"STREAM.INFO.{stream}"))["state"]["messages"] == before


# -- others -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["c", "h.1f", "h.not-a-holder", "nothing.of.ours", "in"])
async def test_what_others_publish_is_a_dead_letter_and_stops_nothing(
    kind: str, servers: Servers, client: Client, stream: str
) -> None:
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        await mailbox.enqueue(b"", b"before")
        # what begins like a commit and is none is no plain message
        noise = [codec.MAGIC + b"and then noise", *([] if kind == "in" else [b"", b"\xff" * 100, b"hello"])]
        for data in noise:
            await client.jetstream().publish(f"{stream}.m.inbox.{kind}", data)
        await mailbox.enqueue(b"", b"after")
        letters = await mailbox.dead_letters()
        assert sorted(letter.record.payload for letter in letters) == sorted(noise)
        assert {letter.record.sender for letter in letters} == {b""}
        assert len({letter.record.id for letter in letters}) == len(noise)
        assert (await mailbox.status()).dead_letters == len(noise)
        assert [record.payload for record in await mailbox.dequeue()] == [b"before", b"after"]


@pytest.mark.parametrize("header", [{"Pymailbox-Priority": "URGENT"}, {"Pymailbox-Id": "no id"}])
async def test_a_header_that_means_nothing_is_a_dead_letter(
    header: dict[str, str], servers: Servers, client: Client, stream: str
) -> None:
    async with open_mailbox(servers.location("inbox", stream)) as mailbox:
        await client.jetstream().publish(f"{stream}.m.inbox.in", b"hello", headers=header)
        (letter,) = await mailbox.dead_letters()
        assert letter.record.payload == b"hello"
        assert await mailbox.dequeue() == []


# -- connections ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def behind_a_proxy(servers: Servers, stream: str) -> AsyncIterator[tuple[Proxy, Mailbox, Mailbox]]:
    """A handle that comes by a proxy, with a message in its hands, and one that does not."""
    with Proxy(servers.addresses) as proxy:
        async with (
            open_mailbox(servers.location("inbox", stream)) as direct,
            open_mailbox(servers.location("inbox", stream, at=proxy.address)) as mailbox,
        ):
            await direct.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(3)])
            assert [record.payload for record in await mailbox.dequeue(1)] == [b"0"]
            yield proxy, mailbox, direct


LOSSES = pytest.mark.parametrize("loses", ["request", "answer"])


def lose(proxy: Proxy, loses: str, stream: str) -> Any:
    """Lose the next commit on its way there, or what comes back."""
    text = b"PUB %s." % stream.encode()
    return proxy.lose_request(text) if loses == "request" else proxy.lose_answer(text)


@LOSSES
async def test_an_enqueue_that_is_cut_off_stores_once(loses: str, servers: Servers, stream: str) -> None:
    async with behind_a_proxy(servers, stream) as (proxy, mailbox, direct):
        sprung = lose(proxy, loses, stream)
        await mailbox.enqueue(b"", b"cut off", MessagePriority.HIGH)
        assert sprung.is_set()
        assert [record.payload for record in await direct.dequeue()] == [b"cut off", b"1", b"2"]


@LOSSES
async def test_a_claim_that_is_cut_off_hands_out_once(loses: str, servers: Servers, stream: str) -> None:
    async with behind_a_proxy(servers, stream) as (proxy, mailbox, direct):
        sprung = lose(proxy, loses, stream)
        assert [(record.payload, record.delivery_count) for record in await mailbox.dequeue(1)] == [(b"1", 1)]
        assert sprung.is_set()
        assert [record.payload for record in await direct.dequeue()] == [b"2"]
        assert (await direct.status()).inflight_messages == 3


@LOSSES
async def test_an_acknowledgement_that_is_cut_off_is_true(loses: str, servers: Servers, stream: str) -> None:
    async with behind_a_proxy(servers, stream) as (proxy, mailbox, direct):
        (record, *_) = await direct.peek(status=None)
        records = await mailbox.dequeue(1)
        sprung = lose(proxy, loses, stream)
        assert await mailbox.ack(records[0].id)
        assert sprung.is_set()
        assert not await direct.ack(records[0].id)
        assert record.payload == b"1"


@LOSSES
async def test_a_step_that_is_cut_off_happens_once(loses: str, servers: Servers, stream: str) -> None:
    async with behind_a_proxy(servers, stream) as (proxy, mailbox, direct):
        location = servers.location("outbox", stream, at=proxy.address)
        async with open_mailbox(location) as outbox, open_mailbox(servers.location("outbox", stream)) as receiver:
            (record,) = await mailbox.dequeue(1)
            sprung = lose(proxy, loses, stream)
            assert await mailbox.ack_and_send(record.id, [(outbox, NewMessage(b"", b"sent on"))])
            assert sprung.is_set()
            assert [record.payload for record in await receiver.dequeue()] == [b"sent on"]
            assert (await direct.status()).inflight_messages == 1


async def test_what_is_stalled_and_sent_again_is_stored_once(servers: Servers, stream: str) -> None:
    async with behind_a_proxy(servers, stream) as (proxy, mailbox, direct):
        proxy.stall()
        enqueue = asyncio.create_task(mailbox.enqueue(b"", b"stalled"))
        await asyncio.sleep(4)  # it is sent again meanwhile
        proxy.mend()
        await enqueue
        await mailbox.enqueue(b"", b"after")
        assert [record.payload for record in await direct.dequeue()] == [b"1", b"2", b"stalled", b"after"]


async def test_an_outcome_that_stays_unknown(servers: Servers, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with behind_a_proxy(servers, stream) as (proxy, mailbox, direct):
        monkeypatch.setattr(link, "PATIENCE", 2.0)
        monkeypatch.setattr(writer, "PATIENCE", 2.0)
        proxy.stall()
        with pytest.raises(ConnectionLostError, match="unknown") as error:
            await mailbox.enqueue(b"", b"unknown")
        assert error.value.passing
        monkeypatch.undo()
        proxy.mend()
        await mailbox.enqueue(b"", b"known")
        assert [record.payload for record in await direct.dequeue()][-1] == b"known"


async def test_a_waiting_claim_outlives_the_server(servers: Servers, stream: str) -> None:
    location = servers.location("inbox", stream)
    async with open_mailbox(location) as mailbox, open_mailbox(location) as sender:
        claim = asyncio.create_task(mailbox.dequeue(1, wait=60))
        await asyncio.sleep(0.2)
        servers.servers[0].kill()
        servers.start()
        await sender.enqueue(b"", b"hello")
        async with asyncio.timeout(SECONDS):
            assert [record.payload for record in await claim] == [b"hello"]
