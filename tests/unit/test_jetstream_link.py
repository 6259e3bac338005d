"""The connection to a stream's servers, with a client that does as it is told."""

from __future__ import annotations

import asyncio
import traceback
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn

import pytest

pytest.importorskip("nats")

from pymailbox import ConnectionLostError, StorageUnavailableError
from pymailbox.backends.jetstream import link as link_module
from pymailbox.backends.jetstream import writer
from pymailbox.backends.jetstream.errors import NotSentError, RefusedError, TimedOutError
from pymailbox.backends.jetstream.link import Link
from pymailbox.backends.jetstream.location import Address
from pymailbox.backends.jetstream.replica import Replica
from pymailbox.contract.location import Connect


def link_to_nowhere(monkeypatch: pytest.MonkeyPatch) -> tuple[Link, Any]:
    """As if it were connected; and its client."""
    link = Link(Address(("nats://localhost:4222",), "s", None), Connect({}), None)
    link._nc._status = link._nc.CONNECTED
    link._inbox = "_INBOX.me"
    return link, link._nc


async def test_why_no_answer_can_come_is_told_each_time_as_if_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    link, _ = link_to_nowhere(monkeypatch)
    await link._on_error(Exception('nats: permissions violation for subscription to "_inbox.me.*"'))
    told = []
    for _ in range(3):
        with pytest.raises(StorageUnavailableError, match="inbox_prefix") as raised:
            await link.ask("subject")
        told.append(len(traceback.extract_tb(raised.value.__traceback__)))
    assert len(set(told)) == 1


@pytest.mark.parametrize(("code", "refusals", "asked"), [(10005, 2, 3), (10005, 99, 0), (10074, 99, 1)])
async def test_a_cluster_that_begins_may_not_know_all_its_servers_yet(code: int, refusals: int, asked: int) -> None:
    address = Address(("nats://localhost:4222",), "s", 3)
    link = Link(address, Connect({"connect_timeout": 1.0}), None)
    asks = []

    async def api(subject: str, body: object) -> object:
        asks.append(subject)
        if len(asks) <= refusals:
            raise RefusedError({"err_code": code, "description": "no suitable peers"})
        return "there"

    link.api = api  # type: ignore[assignment, method-assign]
    if refusals == 2:
        assert await link._create_stream() == "there"
    else:
        with pytest.raises(ValueError, match="replicas=3"):
            await link._create_stream()
    assert len(asks) == asked if asked else len(asks) > 1


@pytest.mark.parametrize(("seconds", "attempt"), [(1, 3), (10, 10 / 3), (600, 10)])
async def test_an_attempt_leaves_time_for_another(seconds: float, attempt: float) -> None:
    """Also for commits that wait for a minute, if a server does not even refuse."""
    link = Link(Address(("nats://localhost:4222",), "s", None), Connect({"connect_timeout": seconds}), None)
    options: dict[str, Any] = {}

    async def connect(_: list[str], **named: Any) -> None:
        options.update(named)

    link._nc.connect = connect  # type: ignore[assignment, method-assign]
    await link._connect()
    assert options["connect_timeout"] == pytest.approx(attempt)


async def test_how_long_opening_waits_is_not_how_long_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "CONNECT_TIMEOUT", 0.1)
    link = Link(Address(("nats://localhost:4222",), "s", None), Connect({"connect_timeout": 600}), None)
    link.created = "before"

    async def api(*_: object) -> NoReturn:
        raise TimedOutError

    link.api = api  # type: ignore[assignment, method-assign]
    async with asyncio.timeout(5):
        await link.look_for_stream()


async def test_whoever_waits_for_a_server_hurries_all_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the pauses between attempts grow to seconds, and a server that is back in the last of them is missed."""
    monkeypatch.setattr(link_module, "_HURRIED_FOR", 0.15)
    for module in (link_module, writer):
        monkeypatch.setattr(module, "PATIENCE", 0.9)
    link, client = link_to_nowhere(monkeypatch)
    client._status = client.RECONNECTING
    hurried: list[str] = []
    client.hurry = lambda: hurried.append("from the first pause on")
    client.try_now = lambda: hurried.append("now")
    with pytest.raises(ConnectionLostError):
        await link.patiently(partial(link.ask, "subject"), "asking")
    assert hurried[0] == "from the first pause on"
    assert 3 <= hurried.count("now") == len(hurried) - 1 <= 6
    hurried.clear()
    with pytest.raises(ConnectionLostError):
        await Replica(link, "a").writer._send_until_known(writer.Sent(link.loop, b""), [("subject", b"")], None)
    assert hurried[0] == "from the first pause on"
    assert 3 <= hurried.count("now") == len(hurried) - 1 <= 6


async def test_a_link_that_was_closed_here_is_not_away(monkeypatch: pytest.MonkeyPatch) -> None:
    link, client = link_to_nowhere(monkeypatch)
    client.away_since = since = datetime.now(UTC)
    assert link.away_since is None
    client._status = client.RECONNECTING
    assert link.away_since == since
    link._users = 1
    await link.release()
    assert link.away_since is None


async def test_a_server_that_takes_nothing_is_sent_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    link, client = link_to_nowhere(monkeypatch)
    sent = []
    client._max_payload = client._max_pending_size = 1000
    client.send = lambda subject, data, reply="": sent.append(data)
    assert link.tell("a", b"1")
    monkeypatch.setattr(type(client), "unsent", 999)
    assert link.tell("a", b"2")
    client._pending_data_size = 2
    assert not link.tell("a", b"3")
    for headers in (None, {"A": "b"}):
        with pytest.raises(NotSentError):
            await link.start("a", b"4", headers)
    assert sent == [b"1", b"2"]
    assert link._asked == {}
    client._status = client.RECONNECTING
    client._pending_data_size = 0
    assert not link.tell("a", b"5")
