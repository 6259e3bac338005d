"""``open_mailbox``, ``list_mailboxes`` and ``delete_mailbox``: arguments, and how they find a backend."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import re
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pymailbox import (
    Mailbox,
    MailboxClosedError,
    MemoryMailbox,
    SqliteMailbox,
    StorageUnavailableError,
    delete_mailbox,
    list_mailboxes,
    open_mailbox,
    sync,
)
from pymailbox.testing._death import let_be_collected


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"location": 5}, TypeError, "location must be a str"),
        ({"location": ""}, ValueError, "location must not be empty"),
        ({"location": "redis://host/inbox"}, StorageUnavailableError, "unknown scheme; there are"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": True}, TypeError, "batch_size"),
        ({"max_deliveries": -1}, ValueError, "max_deliveries"),
        ({"lease": 0}, ValueError, "lease"),
        ({"lease": math.inf}, ValueError, "lease"),
        ({"durability": "none"}, ValueError, "durability"),
        ({"unknown": 1}, TypeError, "unknown"),
    ],
)
def test_bad_arguments_raise_at_the_call(
    in_tmp_path: Path, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        open_mailbox(**{"location": "sqlite:///never.db"} | arguments)
    assert list(in_tmp_path.iterdir()) == []


def test_a_relative_path_is_resolved_at_the_call(in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = "sqlite:///here.db#inbox"
    elsewhere = in_tmp_path / "elsewhere"
    elsewhere.mkdir()

    async def call_here_and_await_elsewhere() -> None:
        opening, listing, deleting = open_mailbox(location), list_mailboxes(location), delete_mailbox(location)
        by_name = open_mailbox("inbox")
        monkeypatch.chdir(elsewhere)
        async with opening, by_name:
            assert await listing == ["inbox"]
        assert await deleting

    asyncio.run(call_here_and_await_elsewhere())
    assert list(elsewhere.iterdir()) == []
    assert sorted(path.name for path in in_tmp_path.iterdir()) == ["elsewhere", "here.db", "pymailbox.db"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not remove the current folder")
def test_a_relative_path_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    code = """
import os, pymailbox
os.rmdir(os.getcwd())
try:
    pymailbox.open_mailbox("inbox")
except pymailbox.StorageUnavailableError as error:
    assert "pymailbox.db" in str(error), error
else:
    raise SystemExit("nothing was raised")
"""
    folder = tmp_path / "gone"
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True)


async def test_opening_can_be_awaited_or_entered() -> None:
    location = f"memory://{uuid4()}"
    mailbox = await open_mailbox(location, batch_size=1)
    await mailbox.enqueue(b"sender", b"payload")
    async with open_mailbox(location) as other:
        assert len(await other.dequeue()) == 1
    with pytest.raises(MailboxClosedError):
        await other.status()
    await mailbox.close()


async def test_async_with_closes_after_an_error() -> None:
    with pytest.raises(KeyError):
        async with open_mailbox("memory://") as mailbox:
            raise KeyError
    with pytest.raises(MailboxClosedError):
        await mailbox.status()


async def test_async_with_passes_the_error_of_opening_on(in_tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailableError):
        async with open_mailbox("sqlite:///."):
            pass


def test_nothing_is_opened_before_it_is_awaited(in_tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="was never awaited"):
        open_mailbox("sqlite:///never.db#inbox")
    assert list(in_tmp_path.iterdir()) == []


def test_what_is_not_open_yet_shows_its_location_and_no_secrets() -> None:
    connect = {"user": "alice", "password": "of-alice"}
    opening = open_mailbox("nats://a:4222,b:4222/inbox?stream=shop", connect=connect)
    opening._is_used = True
    assert repr(opening) == "<open_mailbox() of nats://a:4222,b:4222?stream=shop#inbox>"
    opening = open_mailbox("memory://inbox")
    opening._is_used = True
    assert repr(opening) == "<open_mailbox() of memory://inbox>"


@pytest.mark.skipif(sys.platform == "emscripten", reason="the default of CPython")
async def test_plain_name_is_a_sqlite_file(in_tmp_path: Path) -> None:
    async with open_mailbox("inbox") as mailbox:
        assert isinstance(mailbox, SqliteMailbox)
        await mailbox.enqueue(b"sender", b"payload")
    assert (in_tmp_path / "pymailbox.db").is_file()
    async with open_mailbox("sqlite:///pymailbox.db#inbox") as same:
        assert (await same.status()).queued_messages == 1


@pytest.mark.skipif(sys.platform == "emscripten", reason="there, plain names are IndexedDB's")
@pytest.mark.parametrize("name", ["app.db", "./app", "rooms/1"])
@pytest.mark.parametrize("function", [open_mailbox, list_mailboxes, delete_mailbox])
def test_name_that_looks_like_a_file_is_refused(
    in_tmp_path: Path, function: Callable[[str], object], name: str
) -> None:
    with pytest.raises(ValueError, match=f"location '{name}' looks like a file, .* 'sqlite:///{name}'"):
        function(name)
    assert list(in_tmp_path.iterdir()) == []


async def test_path_is_the_default_mailbox_of_a_sqlite_file(in_tmp_path: Path) -> None:
    file = in_tmp_path / "a b#c.db"
    async with open_mailbox(file) as mailbox:
        assert isinstance(mailbox, SqliteMailbox)
        await mailbox.enqueue(b"sender", b"payload")
    assert await list_mailboxes(Path(file.name)) == ["default"]
    async with open_mailbox("sqlite:///a%20b%23c.db") as same:
        assert (await same.status()).queued_messages == 1
    assert await delete_mailbox(file)
    assert await list_mailboxes(file) == []


async def test_relative_path_is_resolved_at_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    for location in ("sqlite:///file.db#inbox", "inbox"):
        monkeypatch.chdir(here)
        opening = open_mailbox(location)
        monkeypatch.chdir(elsewhere)
        async with opening as mailbox:
            await mailbox.enqueue(b"sender", b"payload")
        monkeypatch.chdir(here)
        listing = list_mailboxes(location)
        monkeypatch.chdir(elsewhere)
        assert await listing == ["inbox"]
        monkeypatch.chdir(here)
        deleting = delete_mailbox(location)
        monkeypatch.chdir(elsewhere)
        assert await deleting is True
    assert {file.name for file in here.glob("*.db")} == {"file.db", "pymailbox.db"}
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there a folder that somebody is in cannot be removed")
def test_relative_path_without_a_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for use in (open_mailbox, list_mailboxes, delete_mailbox):
        with pytest.raises(StorageUnavailableError, match="the current folder is gone"):
            use("sqlite:///file.db#inbox")


async def test_schemes_lead_to_their_classes(in_tmp_path: Path) -> None:
    async with open_mailbox("memory://inbox") as memory, open_mailbox("sqlite:///file.db") as sqlite:
        assert isinstance(memory, MemoryMailbox)
        assert isinstance(sqlite, SqliteMailbox)


@pytest.mark.parametrize("use", [open_mailbox, list_mailboxes, delete_mailbox])
async def test_no_indexeddb_outside_a_browser(use: Callable[[str], Any]) -> None:
    with pytest.raises(
        StorageUnavailableError, match=r"indexeddb:// .* only in browsers; use sqlite:///FILE#NAME or memory://NAME"
    ):
        await use("indexeddb://inbox")


async def test_indexeddb_needs_a_name() -> None:
    with pytest.raises((ValueError, StorageUnavailableError)):
        await open_mailbox("indexeddb://")


@pytest.mark.parametrize("prefix", ["memory://", "sqlite:///file.db#"])
async def test_list_and_delete(in_tmp_path: Path, prefix: str) -> None:
    names = sorted(f"{uuid4()} {suffix}" for suffix in ("a", "ü", "10%"))
    locations = [prefix + name.replace("%", "%25") for name in names]
    for location in locations:
        async with open_mailbox(location) as mailbox:
            await mailbox.enqueue(b"sender", b"payload")

    async def listed() -> list[str]:
        found = await list_mailboxes(locations[0])
        assert found == sorted(found)
        return [name for name in found if name in names]

    assert await listed() == names
    assert await delete_mailbox(locations[1]) is True
    assert await delete_mailbox(locations[1]) is False
    assert await listed() == [names[0], names[2]]
    async with open_mailbox(locations[1]) as mailbox:
        assert (await mailbox.status()).queued_messages == 0
    for location in locations:
        await delete_mailbox(location)


@pytest.mark.parametrize("prefix", ["memory://", "sqlite:///file.db#"])
async def test_deleted_mailbox_goes_on_empty(in_tmp_path: Path, prefix: str) -> None:
    location = f"{prefix}{uuid4()}"
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"sender", b"before")
        held = await mailbox.dequeue()
        await mailbox.enqueue(b"sender", b"before")
        assert await delete_mailbox(location) is True
        stats = await mailbox.status()
        assert (stats.queued_messages, stats.inflight_messages) == (0, 0)
        assert await mailbox.ack(held[0].id) is False
        await mailbox.enqueue(b"sender", b"after")
        assert [record.payload for record in await mailbox.dequeue()] == [b"after"]


def test_listing_creates_nothing(in_tmp_path: Path) -> None:
    assert asyncio.run(list_mailboxes("sqlite:///never.db")) == []
    assert asyncio.run(delete_mailbox("sqlite:///never.db#inbox")) is False
    assert list(in_tmp_path.iterdir()) == []


@pytest.mark.parametrize("location", ["memory://", "indexeddb://"])
async def test_only_a_named_mailbox_can_be_deleted(location: str) -> None:
    with pytest.raises(ValueError, match="location must name the mailbox to delete"):
        await delete_mailbox(location)


@pytest.mark.parametrize("use", [list_mailboxes, delete_mailbox])
@pytest.mark.parametrize(
    ("location", "error"), [("", ValueError), (None, TypeError), ("x://y", StorageUnavailableError)]
)
async def test_bad_locations_to_list_and_delete(
    use: Callable[[Any], Any], location: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="location"):
        await use(location)


IN_SUBINTERPRETER = """
import sys
code = '''
import asyncio
from pymailbox import StorageUnavailableError, open_mailbox

async def use(location):
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"sender", b"payload")
        print([record.payload for record in await mailbox.dequeue()], flush=True)

asyncio.run(use("memory://"))
try:
    asyncio.run(use("sqlite:///file.db"))
except StorageUnavailableError as error:
    print(error, flush=True)
'''
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    made = interpreters.create("isolated")
    failure = interpreters.exec(made, code)
    assert failure is None, failure
else:
    import _xxsubinterpreters as interpreters
    made = interpreters.create(isolated=True)
    interpreters.run_string(made, code)
interpreters.destroy(made)
"""


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="others have no subinterpreters")
def test_isolated_subinterpreter_has_memory_only(tmp_path: Path) -> None:
    environment = dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", IN_SUBINTERPRETER]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    # not its exit code: some versions of CPython crash when they end after a subinterpreter had asyncio
    assert len(run.stdout.splitlines()) == 2, run.stderr
    memory, sqlite = run.stdout.splitlines()
    assert memory == "[b'payload']"
    assert "file.db: the thread that works on it cannot be started" in sqlite
    assert "open the mailbox in the main interpreter" in sqlite


async def test_mailbox_opens_once_there_is_a_thread_for_it(in_tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Thread, "start", refuse)
        with pytest.raises(StorageUnavailableError, match=r"file\.db: the thread .* \(can't start new thread\)"):
            await open_mailbox("sqlite:///file.db")
    async with open_mailbox("sqlite:///file.db") as mailbox:
        await mailbox.enqueue(b"sender", b"payload")


def test_importing_loads_no_backend(unmeasured: dict[str, str]) -> None:
    script = (
        "import sys, pymailbox; pymailbox.open_mailbox('memory://')\n"
        "print(*(name for name in sys.modules if name.startswith('pymailbox.backends') or name in ('sqlite3', 'js')))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=unmeasured)
    # except the table of backends
    assert run.stdout.split() == ["pymailbox.backends", "pymailbox.backends.registry"]


# -- handles that are left unclosed ------------------------------------------------------------------------------------


async def _leave_open(location: str) -> None:
    await open_mailbox(location)


async def _leave_open_in_two_steps(location: str) -> None:
    opening = open_mailbox(location)
    await _awaited_elsewhere(opening)


async def _awaited_elsewhere(opening: Awaitable[Mailbox]) -> None:
    await opening


async def _leave_open_without_await(location: str) -> None:
    sync.open_mailbox(location)


@pytest.mark.parametrize("leave", [_leave_open, _leave_open_in_two_steps, _leave_open_without_await])
@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
async def test_warning_says_where_a_handle_was_opened(
    scheme: str, leave: Callable[[str], Awaitable[None]], tmp_path: Path
) -> None:
    place = f"{__file__}:{leave.__code__.co_firstlineno + 1}"
    with pytest.warns(ResourceWarning, match=re.escape(f"opened at {place}, was never closed")):  # noqa: PT031
        await leave("memory://" if scheme == "memory" else f"sqlite:///{tmp_path}/mail.db")
        gc.collect()
        await asyncio.sleep(0.05)  # the file's thread may still refer to it
        gc.collect()


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
async def test_what_a_collected_handle_held_is_queued_though_nobody_asks_for_it(scheme: str, tmp_path: Path) -> None:
    location = f"memory://{uuid4()}" if scheme == "memory" else f"sqlite:///{tmp_path}/mail.db"
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"")
        states = mailbox.changes()
        left = [await open_mailbox(location)]
        await left[0].dequeue()
        assert (await anext(states)).inflight_messages == 1
        await let_be_collected(left)
        async with asyncio.timeout(10):
            while (await anext(states)).inflight_messages:
                pass
        assert (await mailbox.peek())[0].delivery_count == 0
