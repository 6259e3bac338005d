"""The servers that the tests start: there, killed, started again, and gone with whoever started them."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import nats
import pytest
from nats.aio.client import Client

from tests.nats.fake_server import fake_server
from tools import nats_servers
from tools.nats_servers import EXAMPLE, PASSWORDS, Server, Servers, executable, remove_abandoned
from tools.serve import HOST, ROOT

SECONDS = 10.0


def url(server: Server) -> str:
    return f"nats://{server.address}"


async def test_what_was_acknowledged_outlives_the_server(servers: Servers, client: Client, stream: str) -> None:
    context = client.jetstream()
    await context.add_stream(name=stream, subjects=[f"{stream}.>"], num_replicas=servers.count)
    await context.publish(f"{stream}.a", b"stored")
    leader = servers.leader_of(stream)
    leader.kill()
    if servers.count > 1:
        assert servers.leader_of(stream) is not leader
    servers.start()
    async with await nats.connect(url(leader)) as other:
        assert (await other.jetstream().get_msg(stream, 1)).data == b"stored"


async def test_servers_say_that_they_are_new_enough(client: Client) -> None:
    assert client.connected_server_version.major == 2
    assert client.connected_server_version.minor >= 12


STARTED = """
import sys, time
from tools.nats_servers import Servers

with Servers(1) as servers:
    print(servers.servers[0].process_id, flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing ends them with a parent that is killed")
def test_no_server_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTED]
    environment = os.environ | {"TMPDIR": str(tmp_path)}  # nobody is left who would empty it
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment) as parent:
        assert parent.stdout
        server = int(parent.stdout.readline())
        os.kill(server, 0)
        parent.kill()
        until = time.monotonic() + SECONDS
        while is_alive(server):
            assert time.monotonic() < until
            time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no flock")
def test_what_a_killed_parent_left_is_deleted_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    command = [sys.executable, "-c", STARTED]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment) as parent:
        assert parent.stdout
        parent.stdout.readline()
        [folder] = tmp_path.iterdir()
        os.utime(folder, (0, 0))
        remove_abandoned()
        assert folder.exists()
        parent.kill()
    os.utime(folder)
    remove_abandoned()
    assert folder.exists()  # whoever has just made it may not have locked it yet
    os.utime(folder, (0, 0))
    with Servers(1):
        assert not folder.exists()


def is_alive(process: int) -> bool:
    """Whether it runs; what has ended may wait for whoever takes its status."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


def test_a_server_that_ends_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(PASSWORDS, "MAILBOXES_PASSWORD")
    with pytest.raises(RuntimeError, match="MAILBOXES_PASSWORD"), Servers(1):
        pass


def test_a_missing_server_is_an_error_that_says_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYMAILBOX_NATS_SERVER", "/nowhere/nats-server")
    with pytest.raises(FileNotFoundError, match=r"/nowhere/nats-server: PYMAILBOX_NATS_SERVER"), Servers(1):
        pass
    monkeypatch.delenv("PYMAILBOX_NATS_SERVER")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: "/nowhere")
    with pytest.raises(FileNotFoundError, match=r"requirements/demo\.txt"), Servers(1):
        pass


def test_another_server_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "another"
    other.symlink_to(executable())
    monkeypatch.setenv("PYMAILBOX_NATS_SERVER", str(other))
    assert executable() == str(other)
    with Servers(1) as servers:
        assert servers.servers[0].runs


def test_an_example_that_has_something_else_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = tmp_path / "example.conf"
    changed.write_text(EXAMPLE.read_text("utf-8").replace("sync_interval: always", "sync_interval: 1s"), "utf-8")
    monkeypatch.setattr(nats_servers, "EXAMPLE", changed)
    with pytest.raises(ValueError, match="'sync_interval: always' once"):
        Servers(1, sync="default")


@pytest.mark.parametrize(("origin", "status"), [("https://app.example", 101), ("https://other.example", 403)])
def test_a_websocket_is_for_the_pages_of_one_origin(origin: str, status: int, one: Servers) -> None:
    connection = http.client.HTTPConnection(HOST, one.servers[0].websocket_port, timeout=SECONDS)
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Origin": origin}
    connection.request("GET", "/", headers=headers | {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="})
    assert connection.getresponse().status == status
    connection.close()


async def test_whoever_gives_no_name_is_let_in_only_where_that_is_asked_for() -> None:
    with Servers(1, anonymous=False) as servers:
        (server,) = servers.servers
        # nats-py leaves a connection open that is refused
        with socket.create_connection((HOST, server.port), SECONDS) as connection:
            connection.sendall(b"CONNECT {}\r\nPING\r\n")
            assert connection.makefile("rb").read().endswith(b"-ERR 'Authorization Violation'\r\n")
        password = PASSWORDS["MAILBOXES_PASSWORD"]
        async with await nats.connect(url(server), user="mailboxes", password=password) as client:
            assert client.is_connected


async def test_a_fake_server_passes_for_another_version() -> None:
    async with fake_server(version="2.9.10") as address, await nats.connect(f"nats://{address}") as client:
        version = client.connected_server_version
        assert (version.major, version.minor, version.patch) == (2, 9, 10)


def test_its_monitoring_is_where_no_web_page_looks(one: Servers) -> None:
    (server,) = one.servers
    assert server.told("/healthz") == {"status": "ok"}
    connection = http.client.HTTPConnection(HOST, urlsplit(server.url_of("/")).port or 0, timeout=SECONDS)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 404
    connection.close()


def test_a_killed_server_has_no_time_for_anything(one: Servers) -> None:
    (server,) = one.servers
    process = server.process_id
    server.kill()
    assert not server.runs
    with pytest.raises(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    one.start()
    assert server.process_id != process
