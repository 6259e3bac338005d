"""Whole mailbox files: copied and made smaller while others use them."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pymailbox import (
    Mailbox,
    NewMessage,
    StorageCorruptError,
    StorageUnavailableError,
    UnsupportedError,
    backup,
    compact,
    list_mailboxes,
    open_mailbox,
)
from pymailbox.backends.sqlite import copying, layout, schema
from tests.unit.sqlite_support import MIB, content, names_in, query, run_script, run_with_mounts

TIMEOUT = 30


async def fill(mailbox: Mailbox, count: int, size: int = 10_000) -> None:
    await mailbox.enqueue_many([NewMessage(b"sender", os.urandom(size)) for _ in range(count)])


async def acknowledge_all(mailbox: Mailbox) -> None:
    while records := await mailbox.dequeue(1000):
        await mailbox.ack_many([record.id for record in records])


def size_of(file: Path) -> int:
    return file.stat().st_size


def make_empty(file: Path) -> None:
    file.touch()


# -- backup ------------------------------------------------------------------------------------------------------------


async def test_copy_removes_what_killed_ones_left_long_ago(location: str, tmp_path: Path) -> None:
    async with open_mailbox(location):
        folder = tmp_path / "copies"
        folder.mkdir()
        names = (".pymailbox-1.part", ".pymailbox-1.part-journal", ".pymailbox-2.part", "mine.part")
        for name in names:
            (folder / name).touch()
            if "2" not in name:
                os.utime(folder / name, (0, 0))
        await backup(location, folder / "copy.db")
        assert names_in(folder) == [".pymailbox-2.part", "copy.db", "mine.part"]


async def test_copy_has_every_mailbox_and_opens_as_a_file(file: Path, location: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with open_mailbox(location) as inbox, open_mailbox(f"sqlite:///{file}#outbox") as outbox:
        ids = [await inbox.enqueue(b"alice", b"%d" % number) for number in range(5)]
        await outbox.enqueue(b"bob", b"x")
        await backup(location, copy)
        await inbox.enqueue(b"alice", b"after the copy")
    assert names_in(tmp_path) == ["copy.db", "mail.db"]
    assert await list_mailboxes(copy) == ["inbox", "outbox"]
    async with open_mailbox(f"sqlite:///{copy}#inbox") as mailbox:
        assert [record.id for record in await mailbox.dequeue()] == ids
    assert query(copy, "PRAGMA auto_vacuum") == [(2,)], "it can become smaller too"


async def test_what_is_inflight_is_queued_in_the_copy_and_unblamed(file: Path, location: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with open_mailbox(location, max_deliveries=1) as mailbox:
        await mailbox.enqueue(b"alice", b"held")
        [held] = await mailbox.dequeue(1)
        await backup(file, copy)
        async with open_mailbox(f"sqlite:///{copy}#inbox") as other:
            assert (await other.status()).inflight_messages == 0
            [record] = await other.dequeue()
            assert (record.id, record.delivery_count) == (held.id, 1)
        assert await mailbox.nack(held.id), "in the original it is still held"


WRITER = """
import asyncio, sys
from pymailbox import open_mailbox

async def main():
    async with open_mailbox(sys.argv[1]) as mailbox:
        for number in range(int(sys.argv[2])):
            await mailbox.enqueue(b"other", b"%d" % number)
            if number == 9:
                print("writing", flush=True)

asyncio.run(main())
"""


async def test_copies_are_consistent_while_this_and_another_process_write(
    file: Path, location: str, tmp_path: Path
) -> None:
    async with open_mailbox(location) as mailbox:
        await fill(mailbox, 100)
        await acknowledge_all(mailbox)
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, location, "100000", stdout=asyncio.subprocess.PIPE, env=environment
        )
        assert writer.stdout is not None
        await asyncio.wait_for(writer.stdout.readline(), TIMEOUT)
        copying, stored = True, 0

        async def store() -> int:
            stored = 0
            while copying:
                await mailbox.enqueue(b"me", b"%d" % stored)
                stored += 1
            return stored

        storing = asyncio.create_task(store())
        for number in range(3):
            await backup(file, tmp_path / f"{number}.db")
        copying = False
        stored = await storing
        writer.kill()
        await writer.wait()
    for number in range(3):
        copy = tmp_path / f"{number}.db"
        assert query(copy, "PRAGMA integrity_check") == [("ok",)]
        async with open_mailbox(f"sqlite:///{copy}#inbox") as one:
            count = (await one.status()).queued_messages
            records = await one.dequeue(count)
        for sender in (b"me", b"other"):
            mine = [int(record.payload) for record in records if record.sender == sender]
            assert mine == list(range(len(mine))), "whatever was committed, up to one moment"
        assert len(records) == count
    assert stored


async def test_nothing_is_written_over(file: Path, location: str, tmp_path: Path) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"alice", b"hello")
    before = content(file)
    there, link, hard_link = tmp_path / "there", tmp_path / "link.db", tmp_path / "hard.db"
    there.write_bytes(b"something")
    link.symlink_to(file)
    hard_link.hardlink_to(file)
    (tmp_path / "stale.db-wal").write_bytes(b"of another database")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    refused: dict[Any, str] = {
        file: "path .* is the mailbox file itself",
        link: "path .* is the mailbox file itself",
        hard_link: "path .* is the mailbox file itself",
        f"{file}-wal": "path .* belongs to it",
        f"{file}-journal": "path .* belongs to it",
        there: "path .* already exists",
        tmp_path / "dangling": "path .* already exists",
        tmp_path: "path .* is a folder",
        tmp_path / "stale.db": r"path .* stale\.db-wal in its folder",
        "": "path must not be empty",
        "a\0b": "path .* NUL",
        "sqlite:///copy.db": "path .* not a URL",
    }
    names = names_in(tmp_path)
    for path, words in refused.items():
        with pytest.raises(ValueError, match=words):
            await backup(location, path)
    for bad in (5, None, b"copy.db"):
        with pytest.raises(TypeError, match="path must be a path"):
            await backup(location, bad)  # type: ignore[arg-type]
    assert names_in(tmp_path) == names
    assert (content(file), content(there)) == (before, b"something")


async def test_file_that_appears_meanwhile_is_not_written_over(
    file: Path, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_mailbox(location):
        pass
    copy = tmp_path / "copy.db"
    sync = copying._sync
    monkeypatch.setattr(copying, "_sync", lambda path: (copy.write_bytes(b"quicker"), sync(path)))
    with pytest.raises(ValueError, match="already exists"):
        await backup(location, copy)
    assert content(copy) == b"quicker"
    assert names_in(tmp_path) == ["copy.db", "mail.db"]


@pytest.mark.parametrize("links", ["refused", "missing"])
async def test_copy_is_made_where_there_are_no_links(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: str
) -> None:
    async with open_mailbox(location):
        pass

    def refuse(*_: object) -> None:
        raise PermissionError

    if links == "refused":
        monkeypatch.setattr(os, "link", refuse)
    else:
        monkeypatch.delattr(os, "link")
    await backup(location, tmp_path / "copy.db")
    assert names_in(tmp_path) == ["copy.db", "mail.db"]
    sync = copying._sync
    other = tmp_path / "other.db"
    monkeypatch.setattr(copying, "_sync", lambda path: (other.write_bytes(b"quicker"), sync(path)))
    with pytest.raises(ValueError, match="already exists"):
        await backup(location, other)
    assert content(other) == b"quicker"


async def test_what_is_missing(file: Path, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for nothing in (location, "inbox", tmp_path / "folder" / "mail.db"):
        for call in (backup(nothing, "copy.db"), compact(nothing)):
            with pytest.raises(StorageUnavailableError, match="there is no mailbox file"):
                await call
    make_empty(file)
    with pytest.raises(StorageUnavailableError, match="is empty"):
        await backup(file, "copy.db")
    with pytest.raises(StorageUnavailableError, match="is empty"):
        await compact(file)
    assert names_in(tmp_path) == ["mail.db"]
    async with open_mailbox(location):
        pass
    with pytest.raises(StorageUnavailableError, match=r"path .* there is no folder .*backups\. Make it first"):
        await backup(file, tmp_path / "backups" / "copy.db")


async def test_other_databases_are_not_copied(file: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE songs (title)")
    for call in (backup(file, tmp_path / "copy.db"), compact(file)):
        with pytest.raises(StorageCorruptError, match="another program"):
            await call
    assert names_in(tmp_path) == ["mail.db"]


@pytest.mark.parametrize("location", ["memory://inbox", "indexeddb://inbox"])
async def test_other_backends_say_that_they_have_no_file(location: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"keeps no file that backup\(\) could copy. export\(\)"):
        await backup(location, tmp_path / "copy.db")
    with pytest.raises(UnsupportedError, match=r"keeps no file that compact\(\)"):
        await compact(location)


async def test_relative_path_is_resolved_at_the_call(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_mailbox(location):
        pass
    monkeypatch.chdir(tmp_path)
    call = backup(location, "copy.db")
    monkeypatch.chdir("/")
    await call
    assert names_in(tmp_path) == ["copy.db", "mail.db"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
async def test_copy_is_for_the_eyes_of_the_same_people(file: Path, location: str, tmp_path: Path) -> None:
    async with open_mailbox(location):
        os.chmod(file, 0o600)  # noqa: PTH101
        await backup(location, tmp_path / "copy.db")
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600


async def test_file_of_an_older_version_is_copied_as_it_is(file: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((Path(__file__).parent / "data" / "sqlite_layout_1.sql").read_text("utf-8"))
        connection.execute(f"PRAGMA application_id = {layout.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
    copy = tmp_path / "copy.db"
    await backup(file, copy)
    assert query(copy, "PRAGMA user_version") == query(file, "PRAGMA user_version") == [(1,)]
    names = await list_mailboxes(copy)
    assert names
    assert query(copy, "PRAGMA user_version") == [(layout.SCHEMA_VERSION,)]


async def blocked(copy: Path, location: str, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Task[None], Any, Any]:
    """A backup that is done except for its last step."""
    begun, go_on = threading.Event(), threading.Event()
    release = copying._release_everything

    def wait(part: str) -> None:
        begun.set()
        assert go_on.wait(TIMEOUT)
        release(part)

    monkeypatch.setattr(copying, "_release_everything", wait)
    task = asyncio.ensure_future(backup(location, copy))
    while not begun.is_set():  # noqa: ASYNC110 (an event of threads)
        await asyncio.sleep(0.001)
    return task, begun, go_on


async def test_event_loop_goes_on_and_calls_do_not_wait(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_mailbox(location) as mailbox:
        task, _, go_on = await blocked(tmp_path / "copy.db", location, monkeypatch)
        await mailbox.enqueue(b"alice", b"meanwhile")
        assert not task.done()
        go_on.set()
        await task
    assert "copy.db" in names_in(tmp_path)


async def test_cancelled_backup_leaves_nothing(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"alice", b"hello")
        task, _, go_on = await blocked(tmp_path / "copy.db", location, monkeypatch)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not [name for name in names_in(tmp_path) if name.startswith(("copy", ".pymailbox"))]
        await mailbox.enqueue(b"alice", b"hello")


async def test_backup_that_is_interrupted_begins_again(
    file: Path, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_mailbox(location) as mailbox:
        await fill(mailbox, 10)
    attempts = []
    copy_to = copying._Copying._copy_to

    def interrupted(self: copying._Copying, part: str) -> None:
        copy_to(self, part)
        attempts.append(part)
        if len(attempts) == 1:
            error = sqlite3.OperationalError("interrupted")
            error.sqlite_errorcode = sqlite3.SQLITE_INTERRUPT
            raise error

    monkeypatch.setattr(copying._Copying, "_copy_to", interrupted)
    await backup(file, tmp_path / "copy.db")
    assert len(attempts) == 2
    assert query(tmp_path / "copy.db", "PRAGMA integrity_check") == [("ok",)]


FORKING = """
import asyncio, os, sys, warnings
from pymailbox import backup, open_mailbox

warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads

location, folder, forks = sys.argv[1], sys.argv[2], 20

def in_child(number):
    async def main():
        async with open_mailbox(location) as mailbox:
            await mailbox.enqueue(b"child", b"%d" % number)
    asyncio.run(main())

async def main():
    async with open_mailbox(location) as mailbox:
        for _ in range(200):
            await mailbox.enqueue(b"parent", os.urandom(100_000))
        copying = asyncio.ensure_future(backup(location, f"{folder}/copy.db"))
        children = []
        for number in range(forks):
            await asyncio.sleep(0.002)
            child = os.fork()
            if not child:
                asyncio._set_running_loop(None)
                in_child(number)
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        await copying
        print((await mailbox.status()).queued_messages)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_forks_during_a_backup(file: Path, location: str, tmp_path: Path) -> None:
    assert run_script(FORKING, location, tmp_path) == "220\n"
    for one in (file, tmp_path / "copy.db"):
        assert query(one, "PRAGMA integrity_check") == [("ok",)]


FULL_VOLUME = """
import asyncio, os, subprocess, sys
from pymailbox import NewMessage, StorageFullError, backup, open_mailbox

folder, location = sys.argv[1], sys.argv[2]

async def main():
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"", os.urandom(100_000)) for _ in range(30)])
        try:
            await backup(location, f"{folder}/copy.db")
        except StorageFullError as error:
            assert f"path {folder}/copy.db: its disk has too little room" in str(error), error
            print(os.listdir(folder))
        await mailbox.enqueue(b"", b"")

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the volume is Linux's")
def test_full_disk_leaves_nothing(location: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    assert run_with_mounts(FULL_VOLUME, tmp_path / "full", location) == "[]\n"


# -- compact -----------------------------------------------------------------------------------------------------------


async def test_compact_gives_free_space_back_while_the_file_is_open(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox, open_mailbox(f"sqlite:///{file}#other") as other:
        await fill(mailbox, 500)
        await other.enqueue(b"bob", b"held")
        [held] = await other.dequeue()
        await acknowledge_all(mailbox)
        kept = await mailbox.enqueue(b"alice", b"kept")
        large = size_of(file)
        assert large > 4 * MIB
        freed = await compact(location)
        assert freed > 4 * MIB
        assert size_of(file) < 0.1 * MIB
        assert [record.id for record in await mailbox.dequeue()] == [kept]
        assert await other.nack(held.id), "what is held stays held"
        assert await compact(file) < 0.1 * MIB
    assert query(file, "PRAGMA integrity_check") == [("ok",)]


async def test_calls_and_other_programs_go_on_during_a_compact(file: Path, location: str) -> None:
    async with open_mailbox(location) as mailbox:
        await fill(mailbox, 500)
        await acknowledge_all(mailbox)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            compacting = asyncio.ensure_future(compact(location))
            for _ in range(20):
                await asyncio.sleep(0)
                assert not compacting.done(), "it waits for the other program, and the event loop does not"
            other.execute("COMMIT")
        await mailbox.enqueue(b"alice", b"meanwhile")
        await compacting
        assert size_of(file) < 0.2 * MIB
        assert (await mailbox.status()).queued_messages == 1


async def test_file_that_cannot_give_pages_back_is_written_anew(
    file: Path, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_let_shrink", lambda connection: None)  # as older versions made their files
    async with open_mailbox(location) as mailbox:
        await fill(mailbox, 500)
        await acknowledge_all(mailbox)
        kept = await mailbox.enqueue(b"alice", b"kept")
        assert query(file, "PRAGMA auto_vacuum") == [(0,)]
        assert await compact(location) > 4 * MIB
        assert size_of(file) < 0.2 * MIB
        assert query(file, "PRAGMA auto_vacuum") == [(2,)]
        assert [record.id for record in await mailbox.dequeue()] == [kept]
    assert query(file, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("call", [compact, lambda location: backup(location, "copy.db")], ids=["compact", "backup"])
async def test_name_of_the_mailbox_does_not_matter(
    call: Callable[[str], Awaitable[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_mailbox("inbox") as mailbox:
        await mailbox.enqueue(b"alice", b"hello")
    await call("another name")
    assert await list_mailboxes("sqlite:///pymailbox.db") == ["inbox"], "and makes no mailbox of it"
