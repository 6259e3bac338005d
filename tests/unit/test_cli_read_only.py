"""The command line where it may only read: as a user who owns nothing."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401  (nobody cannot import it later)
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pymailbox import MessagePriority, StorageUnavailableError, list_mailboxes, open_mailbox
from pymailbox.backends.sqlite.read_only import Reader, ReadOnlyMailbox, may_write
from pymailbox.cli import main

NOBODY = 65534


WRITER = """
import asyncio, sys
from pymailbox import open_mailbox

async def main():
    async with open_mailbox(sys.argv[1]) as mailbox:
        await mailbox.enqueue(b"carol", b"in the log")
        print("stored", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class NoPrivilegesError(Exception):
    """This process cannot be kept from writing, nor become a user who can."""


def _without_privileges(command: Callable[[tuple[str, ...]], int], argv: tuple[str, ...]) -> Ran:
    """In a child process: the command, as a user with nobody's permissions."""
    if os.geteuid() == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        except OSError as error:
            raise NoPrivilegesError(f"root can't become nobody here: {error}") from error
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.stdin = io.TextIOWrapper(io.BytesIO(b"message"), encoding="utf-8")
        code = command(argv)
        out.flush()
    return Ran(code, out.buffer.getvalue().decode(), err.getvalue())


def run(*argv: str, command: Callable[[tuple[str, ...]], int] = main) -> Ran:
    """Runs a command in a forked child, since the user nobody may not read this interpreter's own files."""
    if sys.platform == "win32":
        pytest.skip("Windows has neither fork nor these permissions: nothing is tested here")
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer: object = _without_privileges(command, argv)
        except BaseException as error:
            answer = [type(error).__name__, repr(error)]
        with open(writes, "w") as pipe:  # noqa: PTH123
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writes)
    with open(reads) as pipe:  # noqa: PTH123
        answer = json.load(pipe)
    os.waitpid(child, 0)
    if isinstance(answer, list) and answer[0] == NoPrivilegesError.__name__:
        pytest.skip(f"nothing is tested here: {answer[1]}")
    assert isinstance(answer, list)
    assert len(answer) == 3, answer
    return Ran(*answer)


@pytest.fixture
def file() -> Iterator[Path]:
    """A mailbox file that nobody has open, in a folder that everybody can reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        asyncio.run(_fill(folder / "app.db"))
        yield folder / "app.db"
        folder.chmod(0o755)


async def _fill(file: Path) -> None:
    async with open_mailbox(f"sqlite:///{file}#inbox") as mailbox:
        await mailbox.enqueue(b"bob", b"poison")
        [record, *_] = await mailbox.dequeue()
        await mailbox.dead_letter(record.id, "no JSON")
        await mailbox.enqueue(b"alice", b"hello")
        await mailbox.enqueue(b"alice", b"fire!", MessagePriority.HIGH)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def protect(file: Path, folder_mode: int) -> list[str]:
    """Lets everybody read the file and nobody write it; returns what is in the folder."""
    for path in file.parent.iterdir():
        path.chmod(0o755 if path.is_dir() else 0o444)
    file.parent.chmod(folder_mode)
    return names_in(file.parent)


LOOKING = [
    ("stats", "--json"),
    ("peek", "--json"),
    ("peek", "--status", "queued", "-n", "1", "--json"),
    ("dead", "--json"),
    ("export",),
]


@pytest.mark.parametrize("folder_mode", [0o555, 0o777], ids=["read-only folder", "writable folder"])
@pytest.mark.parametrize("argv", LOOKING, ids=" ".join)
def test_looking_needs_no_right_to_write(
    file: Path, argv: tuple[str, ...], folder_mode: int, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    command, *options = argv
    assert main([command, str(file), *options]) == 0
    shown_to_owner = capsysbinary.readouterr().out.decode()
    there = protect(file, folder_mode)
    assert run(command, str(file), *options) == (0, shown_to_owner, "")
    assert names_in(file.parent) == there


@contextlib.contextmanager
def writer(file: Path) -> Iterator[None]:
    """Another process that has the file open, and has stored something that is only in the log."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, f"sqlite:///{file}#inbox"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"stored\n"
        yield
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.parametrize("folder_mode", [0o555, 0o777], ids=["read-only folder", "writable folder"])
def test_what_others_commit_meanwhile_is_seen(file: Path, folder_mode: int) -> None:
    with writer(file):
        there = protect(file, folder_mode)
        code, out, err = run("peek", str(file), "--json")
        assert names_in(file.parent) == there
    assert (code, err) == (0, "")
    assert len(json.loads(out)) == 3
    assert "app.db-shm" in there


def test_a_log_that_cannot_be_read_is_not_left_out(file: Path) -> None:
    copy = file.parent / "copy" / "app.db"
    copy.parent.mkdir()
    with writer(file):
        for end in ("", "-wal"):
            shutil.copy(f"{file}{end}", f"{copy}{end}")
    protect(copy, 0o555)
    code, out, err = run("stats", str(copy))
    copy.parent.chmod(0o755)
    assert (code, out) == (1, "")
    assert "app.db-wal" in err
    assert "Copy both" in err


@pytest.mark.parametrize(
    "argv",
    [("enqueue",), ("drain",), ("redrive", "--all"), ("discard", "--all", "-y"), ("purge", "-y"), ("compact",)],
    ids=" ".join,
)
def test_what_writes_says_that_it_may_not(file: Path, argv: tuple[str, ...]) -> None:
    command, *options = argv
    there = protect(file, 0o777)
    code, out, err = run(command, str(file), *options)
    assert (code, out) == (1, "")
    assert "can't be written" in err
    assert names_in(file.parent) == there


def _program(argv: tuple[str, ...]) -> int:
    """A program that lists the mailboxes, and then opens one."""
    [file] = argv

    async def work() -> None:
        sys.stdout.write(f"{await list_mailboxes(Path(file))}\n")
        await open_mailbox(f"sqlite:///{file}#inbox")

    try:
        asyncio.run(work())
    except StorageUnavailableError as error:
        sys.stderr.write(str(error))
    return 0


@pytest.mark.parametrize("in_use", [False, True])
@pytest.mark.parametrize("folder_mode", [0o555, 0o777], ids=["read-only folder", "writable folder"])
def test_program_that_may_not_write_leaves_nothing_in_the_way_of_others(
    file: Path, in_use: bool, folder_mode: int
) -> None:
    with writer(file) if in_use else contextlib.nullcontext():
        there = protect(file, folder_mode)
        code, out, err = run(str(file), command=_program)
        assert (code, out) == (0, "['inbox']\n")
        assert "it cannot be written. Give yourself write permission" in err
        assert names_in(file.parent) == there


def test_file_that_may_not_even_be_read(file: Path) -> None:
    protect(file, 0o555)
    file.chmod(0o200)
    code, out, err = run(str(file), command=_program)
    assert (code, out) == (0, "")
    assert "it cannot be read (Permission denied)" in err


@pytest.mark.parametrize("in_use", [False, True])
def test_copy_is_made_by_whoever_may_read(file: Path, in_use: bool) -> None:
    with tempfile.TemporaryDirectory() as name, writer(file) if in_use else contextlib.nullcontext():
        Path(name).chmod(0o777)
        there = protect(file, 0o555)
        code, _, err = run("backup", str(file), f"{name}/copy.db")
        assert (code, err) == (0, "")
        assert names_in(file.parent) == there
        copied = run("peek", f"{name}/copy.db", "--json")
        assert len(json.loads(copied.out)) == (3 if in_use else 2)


def test_which_mailbox_is_asked_as_always(file: Path) -> None:
    protect(file, 0o555)
    code, _, err = run("peek", f"{file}#outbox")
    assert code == 1
    assert "there is no mailbox outbox" in err


def test_a_file_that_is_written_while_it_is_read_is_noticed(file: Path) -> None:
    reader = Reader(str(file))
    try:
        assert reader.names() == ["inbox"]
        asyncio.run(_fill(file))
        with pytest.raises(StorageUnavailableError, match="while it was read"):
            reader.names()
    finally:
        reader.close()


async def test_a_mailbox_that_is_looked_at_stores_nothing(file: Path) -> None:
    async with ReadOnlyMailbox(str(file), "inbox") as mailbox:
        for call in (mailbox.enqueue(b"", b""), mailbox.dequeue()):
            with pytest.raises(StorageUnavailableError, match="for reading only"):
                await call
        assert len(await mailbox.peek()) == 2
        assert len(await mailbox.dead_letters()) == 1


@pytest.mark.parametrize("what", ["deleted", "made"])
def test_a_log_that_comes_or_goes_at_that_moment_could_be_written(
    file: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever opens or closes the file: then it may still be written, and is not read as one that nobody uses."""
    log, access = Path(f"{file}-wal"), os.access
    looked: list[str] = []

    def look_as_it_changes(path: str, mode: int, **named: bool) -> bool:
        if path == str(log) and what == "deleted":
            log.unlink(missing_ok=True)
        may = access(path, mode, **named)
        if path == str(log) and what == "made":
            log.touch()
        looked.append(path)
        return may

    if what == "deleted":
        log.touch()
    monkeypatch.setattr(os, "access", look_as_it_changes)
    assert may_write(str(file))
    assert str(log) in looked
    assert log.exists() == (what == "made")


def test_a_file_is_looked_at_while_its_last_user_closes_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite deletes the index first, and then the log."""
    log, sleep = Path(f"{file}-wal"), time.sleep
    with contextlib.closing(Reader(str(file))) as reader:
        names = reader.names()

    def close_on(seconds: float) -> None:
        log.unlink(missing_ok=True)
        sleep(seconds)

    log.write_bytes(b"all of it is in the file")
    monkeypatch.setattr(time, "sleep", close_on)
    with contextlib.closing(Reader(str(file))) as reader:
        assert reader.names() == names


def test_whoever_may_write_does(file: Path) -> None:
    assert may_write(str(file))
    assert may_write(os.path.relpath(file))
