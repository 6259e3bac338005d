"""What comes from a server, in pieces of any size: listeners get each message once and in order, nats-py all else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from nats.errors import ProtocolError

from pymailbox.backends.jetstream.client import LinkClient
from pymailbox.backends.jetstream.wire import QuickParser, headers_of

HEADERS = b"NATS/1.0\r\nA: b\r\n\r\n"

CAME = (
    b"MSG in.1 1 5\r\nhello\r\n"
    b"PING\r\n"
    b"MSG in.2 2 reply.to 2\r\nno\r\n"
    b"HMSG in.3 1 %d %d\r\n%bMSG x 1 1\r\n\r\n"
    b"+OK\r\n"
    b"MSG in.4 1 reply.to 0\r\n\r\n"
    b"HMSG in.5 1 reply.to %d %d\r\n%b\r\n"
    b"MSG in.6 2 3\r\nyes\r\nPONG\r\nMSG in.7 1 2\r\n\r\n\r\n"
) % (len(HEADERS), len(HEADERS) + 11, HEADERS, len(HEADERS), len(HEADERS), HEADERS)

FOR_LISTENERS = [
    (b"in.1", b"", b"hello", b""),
    (b"in.3", b"", b"MSG x 1 1\r\n", HEADERS),
    (b"in.4", b"reply.to", b"", b""),
    (b"in.5", b"reply.to", b"", HEADERS),
    (b"in.7", b"", b"\r\n", b""),
]
FOR_NATS_PY = [b"PING", (b"in.2", b"no"), (b"in.6", b"yes"), b"PONG"]


class Others:
    """Stands for nats-py's client."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.parser = QuickParser(self)
        self.listened: list[tuple[bytes, bytes, bytes, bytes]] = []
        self.parser.listeners[b"1"] = lambda *message: self.listened.append(message)

    async def _process_ping(self) -> None:
        await asyncio.sleep(0)
        self.got.append(b"PING")

    async def _process_pong(self) -> None:
        self.got.append(b"PONG")

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        if sid == 1:  # as LinkClient has it
            self.listened.append((subject, reply, data, headers or b""))
        else:
            self.got.append((subject, data))


@pytest.mark.parametrize("seed", range(60))
async def test_messages_in_pieces(seed: int) -> None:
    chance, client = random.Random(seed), Others()
    at = 0
    while at < len(CAME):
        size = chance.choice((1, 2, 7, 30, 1000))
        await client.parser.parse(CAME[at : at + size])
        at += size
    assert client.listened == FOR_LISTENERS
    assert client.got == FOR_NATS_PY


async def test_a_large_message_in_many_pieces() -> None:
    client, body = Others(), random.Random(1).randbytes(3_000_000)
    came = b"MSG in.1 1 %d\r\n%b\r\nMSG in.2 1 0\r\n\r\n" % (len(body), body)
    for at in range(0, len(came), 32_768):
        assert client.parser.feed(came[at : at + 32_768]) == b""
    assert client.listened == [(b"in.1", b"", body, b""), (b"in.2", b"", b"", b"")]


async def test_after_a_reset_nothing_is_left_of_a_message() -> None:
    client = Others()
    await client.parser.parse(b"MSG in.1 1 5\r\nhel")
    client.parser.reset()
    await client.parser.parse(b"MSG in.2 1 2\r\nno\r\n")
    assert client.listened == [(b"in.2", b"", b"no", b"")]


async def test_a_listener_that_raises_keeps_nothing_from_the_next() -> None:
    client = Others()

    def raising(*_: bytes) -> None:
        raise ValueError("not for me")

    client.parser.listeners[b"3"] = raising
    await client.parser.parse(b"MSG in.1 3 0\r\n\r\nMSG in.2 1 0\r\n\r\n")
    assert client.listened == [(b"in.2", b"", b"", b"")]


@pytest.mark.parametrize(
    "damaged",
    [b"MSG a 1 five", b"MSG a 1 -9", b"HMSG a 1 two 5", b"HMSG a 1 2 five", b"HMSG a 1 -2 5", b"HMSG a 1 7 5"],
)
async def test_what_says_no_size_is_left_to_nats_py(damaged: bytes) -> None:
    client, good = Others(), b"MSG in.1 1 2\r\nno\r\n"
    damaged += b"\r\nhello\r\n"
    assert client.parser.feed(good + damaged) == damaged
    assert client.listened == [(b"in.1", b"", b"no", b"")]


async def test_a_connection_that_says_no_size_is_given_up() -> None:
    client = Others()
    client.parser.listeners[b"1"] = lambda *_: None
    with pytest.raises(ProtocolError):
        await client.parser.parse(b"MSG a 1 five\r\nhello\r\n")


async def test_what_is_sent_in_one_turn_goes_in_order() -> None:
    client, sent = LinkClient(), bytearray()
    client._status = LinkClient.CONNECTED
    client._max_payload = 100

    def write(commands: Sequence[bytes]) -> bool:
        sent.extend(b"".join(commands))
        return True

    client._write = write  # type: ignore[method-assign]
    client.send("a", b"1")
    assert sent == b"PUB a  1\r\n1\r\n"  # at once
    client.send("b", b"2")
    client.send("c", b"3", "reply")
    await asyncio.sleep(0)
    assert sent == b"PUB a  1\r\n1\r\nPUB b  1\r\n2\r\nPUB c reply 1\r\n3\r\n"


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        (b"", {}),
        (b"\xff", {}),
        (HEADERS, {"A": "b"}),
        (b"NATS/1.0 503\r\n\r\n", {"Status": "503"}),
        (b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 7\r\n\r\n", {"Status": "100", "Nats-Last-Consumer": "7"}),
        ("NATS/1.0\r\nÄ:ö\r\nno header\r\n\r\n".encode(), {"Ä": "ö"}),
    ],
)
def test_headers(raw: bytes, headers: dict[str, str]) -> None:
    assert headers_of(raw) == headers
