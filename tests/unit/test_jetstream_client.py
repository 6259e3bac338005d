"""nats-py's client as a mailbox uses it, with a server that misbehaves as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from socket import socket
from typing import Any, NoReturn

import pytest

pytest.importorskip("nats")

import nkeys
from nats.aio.client import Client
from nats.protocol.parser import Parser

from pymailbox import StorageUnavailableError
from pymailbox.backends.jetstream import client as client_module
from pymailbox.backends.jetstream.client import LinkClient

INFO = b'INFO {"server_id":"x","version":"2.12.0","max_payload":1048576,"headers":true}\r\n'
SECONDS = 5.0

Answer = Callable[[int, int, bytes], bytes]
"""What is said to the how-manieth line of the how-manieth connection, both from 1 on."""


def usual(_: int, __: int, line: bytes) -> bytes:
    return b"PONG\r\n" if line.startswith(b"PING") else b""


class Server:
    """Says INFO, and then what it is told to."""

    info = INFO

    def __init__(self, answer: Answer) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        connection, number = len(self.writers), 0
        writer.write(self.info)
        with suppress(OSError):
            while line := await reader.readline():
                number += 1
                writer.write(self._answer(connection, number, line))

    def stall(self) -> None:
        """Takes nothing any more."""
        self.writers[-1].transport.pause_reading()  # type: ignore[attr-defined]

    def cut(self) -> None:
        self.writers[-1].transport.abort()


@asynccontextmanager
async def connected(answer: Answer = usual, **options: Any) -> AsyncIterator[tuple[LinkClient, Server]]:
    server = Server(answer)
    async with asyncio.timeout(SECONDS), await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        client = LinkClient()
        await client.connect(
            f"nats://127.0.0.1:{listening.sockets[0].getsockname()[1]}",
            **{"max_reconnect_attempts": -1, "reconnect_time_wait": 0.01, "error_cb": ignored, **options},
        )
        try:
            yield client, server
        finally:
            await client.close()
            for writer in server.writers:
                writer.transport.abort()


async def ignored(_: Exception) -> None:
    """Errors that are expected."""


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110  in a test, with a limit of time
        await asyncio.sleep(0.005)


# -- sending -----------------------------------------------------------------------------------------------------------


async def test_what_is_sent_goes_in_one_piece() -> None:
    """From Python 3.12 on an event loop's `writelines` leaves a socket that was just lost in its selector, by number:
    the next one with the same is deaf.
    """
    heard = []

    def answer(connection: int, number: int, line: bytes) -> bytes:
        heard.append(line)
        return usual(connection, number, line)

    async with connected(answer) as (client, _):
        writer: Any = client._transport._io_writer  # type: ignore[union-attr]
        writer.writelines = refuse(AssertionError("writelines"))
        for data in (b"1", b"2", b"3"):
            client.send("a", data)
        await client.publish("a", b"4")
        await client.flush()
        assert [line[:1] for line in heard if line[0] in b"1234"] == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("error", [RuntimeError, AttributeError, TypeError])
async def test_a_socket_that_is_no_more_is_a_lost_connection(error: type[Exception]) -> None:
    async with connected() as (client, _):
        writer: Any = client._transport._io_writer  # type: ignore[union-attr]
        writer.write = writer.writelines = refuse(error("there is no socket"))
        with pytest.raises(ConnectionError):
            client.send("a", b"")
        del writer.write, writer.writelines


def refuse(error: Exception) -> Callable[..., NoReturn]:
    def raising(*_: object) -> NoReturn:
        raise error

    return raising


async def test_what_waits_to_be_sent_is_counted() -> None:
    async with connected() as (client, server):
        assert client.unsent == 0
        async with asyncio.timeout(SECONDS):
            await until(lambda: server.writers)
        server.stall()
        for _ in range(16):
            client.send("a", bytes(1_000_000))
        await asyncio.sleep(0)
        assert client.unsent > client._max_pending_size
        server.cut()


# -- reconnecting ------------------------------------------------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose server does not answer the last ping of an attempt counts as lost soon."""
    flush = LinkClient.flush
    monkeypatch.setattr(LinkClient, "flush", lambda self, timeout=0.1: flush(self, min(timeout, 0.1)))


def reconnecting(second: Answer) -> Answer:
    """Says something else on the second connection; what comes from the third on is heard."""

    def answer(connection: int, number: int, line: bytes) -> bytes:
        if connection == 2:
            return second(connection, number, line)
        if line.startswith(b"SUB") and connection > 2:
            return b"MSG a 1 5\r\nhello\r\n"
        return usual(connection, number, line)

    return answer


@pytest.mark.usefixtures("hasty")
async def test_half_a_message_of_an_attempt_that_failed_is_forgotten() -> None:
    def half(connection: int, number: int, line: bytes) -> bytes:
        return b"MSG a 1 500000\r\nhalf" if line.startswith(b"PING") and number > 2 else usual(connection, number, line)

    heard = []
    async with connected(reconnecting(half)) as (client, server):
        await client.listen("a", lambda *message: heard.append(message))
        server.cut()
        await until(lambda: heard)
        assert heard == [(b"a", b"", b"hello", b"")]
        assert len(server.writers) == 3


@pytest.mark.usefixtures("hasty")
async def test_tasks_of_an_attempt_that_failed_are_ended() -> None:
    def silent(connection: int, number: int, line: bytes) -> bytes:
        return b"" if number > 2 else usual(connection, number, line)

    heard = []
    async with connected(reconnecting(silent)) as (client, server):
        await client.listen("a", lambda *message: heard.append(message))
        tasks = set()

        def note() -> bool:
            if len(server.writers) == 2:
                tasks.update({client._reading_task, client._flusher_task, client._ping_interval_task})
            return bool(heard)

        server.cut()
        await until(note)
        now = {client._reading_task, client._flusher_task, client._ping_interval_task}
        assert len(tasks - now) >= 3
        assert all(task is None or task.done() for task in tasks - now)
        assert not any(task is None or task.done() for task in now)


async def test_an_attempt_that_fails_as_nobody_expects_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []
    async with connected(reconnecting(usual)) as (client, server):
        init, failures = client._process_connect_init, [ValueError("a line too long"), RuntimeError("what else")]

        async def fail() -> None:
            if failures:
                raise failures.pop()
            await init()

        monkeypatch.setattr(client, "_process_connect_init", fail)
        await client.listen("a", lambda *message: heard.append(message))
        server.cut()
        await until(lambda: heard)
        assert client.is_connected


async def test_what_still_comes_on_a_connection_before_is_not_heard() -> None:
    heard = []
    async with connected() as (client, server):
        await client.listen("a", lambda *message: heard.append(message))
        before: Any = client._transport
        server.cut()
        await until(lambda: len(server.writers) == 2 and client.is_connected)
        before._io_reader._eof = False  # as if more had come before it ended
        before._io_reader.feed_data(b"MSG a 1 5\r\nhello\r\n")
        assert heard == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a connection has left to send when it is closed gets little time."""
    monkeypatch.setattr("pymailbox.backends.jetstream.client._LAST_BYTES", 0.05)


async def stalled(client: LinkClient, server: Server) -> None:
    """Far more waits to be sent than the system takes."""
    await until(lambda: server.writers)
    server.stall()
    for _ in range(16):
        client.send("a", bytes(1_000_000))


@pytest.mark.usefixtures("impatient")
async def test_a_connection_that_is_stuck_keeps_no_other_from_being_made() -> None:
    async with connected(ping_interval=0.02) as (client, server):
        await stalled(client, server)
        await until(lambda: len(server.writers) == 2 and client.is_connected)


async def test_who_is_offline_for_long_tries_less_and_less_until_somebody_is_in_a_hurry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempts: list[object] = []
    pauses: list[float] = []

    async def refuse_all(*_: Any) -> None:
        attempts.append(None)
        raise ConnectionRefusedError

    def longest(least: float, most: float) -> float:
        assert least in (0, most / 2)
        pauses.append(most)
        return most

    monkeypatch.setattr("random.uniform", longest)
    monkeypatch.setattr(client_module, "_FIRST_PAUSE", 0.02)
    monkeypatch.setattr(client_module, "_LONGEST_PAUSE", 0.1)
    async with connected() as (client, server):
        with monkeypatch.context() as without_network:
            without_network.setattr(client_module._Connection, "connect", refuse_all)
            server.cut()
            await until(lambda: len(attempts) == 6)
            assert pauses[:6] == pytest.approx([0.02, 0.03, 0.045, 0.0675, 0.1, 0.1])
            monkeypatch.setattr(client_module, "_LONGEST_PAUSE", 600.0)
            monkeypatch.setattr(client_module, "_FIRST_PAUSE", 600.0)
            await until(lambda: pauses[-1] == 600)
            tried = len(attempts)
            client.hurry()
            await until(lambda: len(attempts) == tried + 1)
            await until(lambda: pauses[-2:] == [600, 600])
            client.try_now()
            await until(lambda: len(attempts) == tried + 2 and pauses[-3:] == [600, 600, 600])
        client.hurry()
        await until(lambda: client.is_connected)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The longest that each of them may be; none takes time."""
    longest: list[float] = []

    def none(_: float, most: float) -> float:
        longest.append(most)
        return 0.0

    monkeypatch.setattr("random.uniform", none)
    return longest


async def test_whoever_waits_for_the_first_connection_tries_often(pauses: list[float]) -> None:
    client = LinkClient()
    with socket() as unused:
        unused.bind(("127.0.0.1", 0))
        options: Any = {"max_reconnect_attempts": -1, "reconnect_time_wait": 0.001, "error_cb": ignored}
        connecting = asyncio.create_task(client.connect(f"nats://127.0.0.1:{unused.getsockname()[1]}", **options))
        async with asyncio.timeout(SECONDS):
            await until(lambda: len(pauses) >= 20)
        while not connecting.done():  # Python 3.11 loses a cancellation that comes as an attempt fails
            connecting.cancel()
            await asyncio.wait([connecting], timeout=0.1)
    await client.close()
    assert pauses[0] == pytest.approx(0.15)
    assert max(pauses) == 0.5


@pytest.mark.usefixtures("hasty")
async def test_a_server_that_only_lets_in_is_tried_less_and_less_and_is_away(pauses: list[float]) -> None:
    def silent(connection: int, number: int, line: bytes) -> bytes:
        return b"" if 1 < connection < 5 and number > 2 else usual(connection, number, line)

    async with connected(silent) as (client, server):
        assert client.away_since is None
        server.cut()
        await until(lambda: len(server.writers) == 2 and client.is_connected)
        since: Any = client.away_since
        assert since is not None
        await until(lambda: len(server.writers) == 4)
        assert client.away_since == since
        await until(lambda: client.away_since is None)
        assert client.is_connected
        assert pauses == pytest.approx([0.1, 0.15, 0.225, 0.3375])


async def test_credentials_that_are_just_written_anew_are_read_when_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-py would read half of them for ever."""
    seed = nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER).decode()
    whole = "".join(
        f"-----BEGIN {name}-----\n{text}\n------END {name}------\n"
        for name, text in (("NATS USER JWT", "jwt"), ("USER NKEY SEED", seed))
    )
    file = tmp_path / "alice.creds"
    file.write_text(whole, "utf-8")
    monkeypatch.setattr(Server, "info", INFO.replace(b"{", b'{"nonce":"n","auth_required":true,'))
    told: list[str] = []
    heard: list[bytes] = []

    async def note(error: Exception) -> None:
        told.append(str(error))

    def answer(connection: int, number: int, line: bytes) -> bytes:
        heard.append(line)
        return usual(connection, number, line)

    async with connected(answer, user_credentials=str(file), error_cb=note) as (client, server):
        for half in (whole[:20], whole[20:], ""):
            file.write_text(half, "utf-8")
            told.clear()
            server.cut()
            await until(lambda: any("credentials" in each for each in told))
            file.write_text(whole, "utf-8")
            await until(lambda: client.is_connected)
        assert all(b'"jwt": "jwt"' in line for line in heard if line.startswith(b"CONNECT"))
        assert not any(seed in each for each in told)


# -- ending ------------------------------------------------------------------------------------------------------------


async def test_a_client_that_ends_says_so_though_something_was_still_to_be_sent() -> None:
    ended = []
    async with connected() as (client, _):
        client.on_closed = lambda: ended.append(client.is_closed)
        transport: Any = client._transport
        transport.writelines = refuse(ConnectionResetError())
        client._pending.append(b"PUB a  0\r\n\r\n")
        client._pending_data_size += 12
        with suppress(ConnectionResetError):
            await client.close()
        assert ended == [True]
        assert transport._io_writer.is_closing()


async def test_a_client_that_the_server_has_closed_is_away() -> None:
    """As when credentials expire: nats-py does not try to connect again."""

    def expired(connection: int, number: int, line: bytes) -> bytes:
        if line.startswith(b"SUB"):
            return b"-ERR 'User Authentication Expired'\r\n"
        return usual(connection, number, line)

    async with connected(expired) as (client, _):
        assert client.away_since is None
        await client.listen("a", lambda *_: None)
        await until(lambda: client.is_closed and client.away_since)


async def test_a_client_that_is_given_no_time_to_end_leaves_no_socket() -> None:
    async with connected() as (client, server):
        await stalled(client, server)
        connection: Any = client._transport
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.close()
        assert connection._io_writer.is_closing()
        assert connection._io_writer.transport.get_write_buffer_size() == 0


# -- another nats-py ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["_ps", "_subs", "_pending", "_reading_task", "_flusher_task", "_transport"])
async def test_a_nats_py_without_what_is_used_of_it_is_told(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    init = Client.__init__

    def without(client: Client) -> None:
        init(client)
        delattr(client, missing)

    monkeypatch.setattr(Client, "__init__", without)
    with pytest.raises(StorageUnavailableError, match=rf"{version('nats-py')} .*{missing}.* 2\.16"):
        LinkClient()


@pytest.mark.parametrize(
    "missing", ["_process_msg", "_close", "_attempt_reconnect", "_connect_to_server", "_process_connect_init"]
)
async def test_a_nats_py_that_calls_other_methods_is_told(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Client, missing)
    with pytest.raises(StorageUnavailableError, match=rf"{missing}.* 2\.16"):
        LinkClient()


@pytest.mark.parametrize(("name", "kind"), [("buf", list), ("state", str)])
async def test_a_nats_py_with_another_parser_is_told(
    name: str, kind: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reset = Parser.reset

    def other(parser: Parser) -> None:
        reset(parser)
        setattr(parser, name, kind())

    monkeypatch.setattr(Parser, "reset", other)
    with pytest.raises(StorageUnavailableError, match=rf"{name}.* 2\.16"):
        LinkClient()
