"""Servers that let in only whoever connects as they want it."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pymailbox import StorageUnavailableError, delete_mailbox, list_mailboxes, open_mailbox
from tests.nats.test_websockets import CERTIFICATE, sent_and_received
from tools.nats_servers import Server, free_ports, wait_for
from tools.serve import HOST

TOKEN = "an-open-secret"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    """Starts one with some settings."""

    def start(settings: str) -> Server:
        ports = free_ports(3)
        store = json.dumps(str(tmp_path / "store"))
        whole = f"listen: {HOST}:{ports[0]}\njetstream {{ store_dir: {store} }}\n{settings}"
        server = Server("guarded", tmp_path / "guarded", whole, ports)
        server.start()
        stack.callback(server.kill)
        wait_for([server], server.is_ready, "the guarded server is not ready")
        return server

    with ExitStack() as stack:
        yield start


async def works(location: str, connect: dict[str, object], server: Server) -> None:
    """Also after a restart, and where a database is asked."""

    def restart() -> None:
        server.kill()
        server.start()
        wait_for([server], server.is_ready, "the guarded server is not ready again")

    await sent_and_received(location, restart, **connect)
    assert await list_mailboxes(location, connect=connect) == ["inbox"]
    assert await delete_mailbox(location, connect=connect)


async def test_a_token(server: Callable[[str], Server], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    guarded = server(f"authorization {{ token: {json.dumps(TOKEN)} }}")
    location = f"nats://{guarded.address}/inbox"
    await works(location, {"token": TOKEN}, guarded)
    with pytest.raises(StorageUnavailableError, match=r"(?i)authorization") as error:
        await open_mailbox(location, connect={"token": "another-secret"})
    assert "secret" not in f"{error.value!r} {error.value} {caplog.text}"
    opening = open_mailbox(location, connect={"token": TOKEN})
    assert TOKEN not in repr(opening)
    async with opening:
        pass


async def test_tls(server: Callable[[str], Server]) -> None:
    file = json.dumps(str(CERTIFICATE))
    guarded = server(f"tls {{ cert_file: {file}, key_file: {file} }}")
    context = ssl.create_default_context(cafile=CERTIFICATE)
    await works(f"tls://{guarded.address}/inbox", {"tls": context}, guarded)
    with pytest.raises(StorageUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        await open_mailbox(f"tls://{guarded.address}/inbox", connect={"connect_timeout": 5.0})
