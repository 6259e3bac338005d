"""Programs that connect by WebSocket, as pages do."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pymailbox import StorageUnavailableError, open_mailbox
from pymailbox.backends.jetstream import link, page
from tools.nats_servers import Servers

CERTIFICATE = Path(__file__).parent / "data" / "localhost.pem"
"""Of localhost and 127.0.0.1, with its key."""


@pytest.fixture(scope="module")
def secure() -> Iterator[Servers]:
    """A server whose WebSocket has TLS."""
    with Servers(1, certificate=CERTIFICATE) as servers:
        yield servers


async def sent_and_received(location: str, restart: Callable[[], None], **connect: object) -> None:
    async with open_mailbox(location, connect=connect) as mailbox:
        for payload in (b"first", b"after a restart"):
            await mailbox.enqueue(b"", payload)
            (message,) = await mailbox.dequeue()
            assert message.payload == payload
            assert await mailbox.ack(message.id)
            restart()


def restarting(servers: Servers) -> Callable[[], None]:
    def restart() -> None:
        servers.servers[0].kill()
        servers.start()

    return restart


async def test_without_tls(one: Servers, stream: str) -> None:
    await sent_and_received(f"ws://{one.websockets}/inbox?stream={stream}", restarting(one))


async def test_with_tls(secure: Servers, stream: str) -> None:
    context = ssl.create_default_context(cafile=CERTIFICATE)
    await sent_and_received(f"wss://{secure.websockets}/inbox?stream={stream}", restarting(secure), tls=context)


async def test_a_certificate_that_nobody_knows_is_told(secure: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "CONNECT_TIMEOUT", 1.0)
    with pytest.raises(StorageUnavailableError, match=r"no NATS server answers at wss://.*CERTIFICATE_VERIFY_FAILED"):
        await open_mailbox(f"wss://{secure.websockets}/inbox")


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_without_aiohttp(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "find_spec", lambda _: None)
    with pytest.raises(StorageUnavailableError, match=rf"{scheme}:// .* aiohttp.* pip install 'pymailbox\[nats\]'"):
        await open_mailbox(f"{scheme}://127.0.0.1:1/inbox")


@pytest.mark.parametrize(
    ("server", "origin", "told"),
    [
        ("ws://a:80", "http://app.example", None),
        ("wss://a:443", "http://app.example", None),
        ("wss://a:443", "https://app.example", None),
        ("nats://a:4222", "http://app.example", "Open ws://HOST:PORT/NAME"),
        ("nats://a:4222", "https://app.example", "Open wss://HOST:PORT/NAME"),
        ("tls://a:4222", "http://app.example", "Open wss://HOST:PORT/NAME"),
        ("ws://a:80", "https://app.example", "https://app.example may not .* Open wss://HOST:PORT/NAME"),
        ("ws://localhost.example:80", "https://app.example", "Open wss://"),
        ("ws://localhost:80", "https://app.example", None),
        ("ws://127.0.0.1:80", "https://app.example", None),
        ("ws://[::1]:80", "https://app.example", None),
    ],
)
def test_what_a_page_can_reach(server: str, origin: str, told: str | None) -> None:
    if told is None:
        page.check_for_page([server], origin)
    else:
        with pytest.raises(StorageUnavailableError, match=told):
            page.check_for_page([server], origin)
