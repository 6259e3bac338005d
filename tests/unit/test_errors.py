"""What errors say about themselves: whether the same call may work a moment later."""

from __future__ import annotations

import copy
import pickle
import sqlite3
from pathlib import Path

import pytest

from pymailbox import ConnectionLostError, MailboxError, StorageFullError, StorageUnavailableError, open_mailbox
from pymailbox.backends.sqlite import schema
from pymailbox.backends.sqlite.errors import mailbox_error


@pytest.mark.parametrize("kind", [MailboxError, *MailboxError.__subclasses__()])
def test_class_decides_unless_the_error_says(kind: type[MailboxError]) -> None:
    assert kind().passing is (kind in (ConnectionLostError, StorageFullError))
    for passing in (True, False):
        error = kind("on purpose", passing=passing)
        assert error.passing is passing
        for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert (type(other), str(other), other.passing) == (kind, "on purpose", passing)


def _of_sqlite(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("on purpose")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "passing"),
    [
        (sqlite3.SQLITE_BUSY, True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, True),
        (sqlite3.SQLITE_LOCKED, True),
        (sqlite3.SQLITE_PROTOCOL, True),
        (sqlite3.SQLITE_FULL, True),
        (sqlite3.SQLITE_IOERR, True),
        (sqlite3.SQLITE_IOERR_SHMMAP, True),
        (sqlite3.SQLITE_IOERR_CORRUPTFS, False),
        (sqlite3.SQLITE_READONLY, False),
        (sqlite3.SQLITE_CORRUPT, False),
        (sqlite3.SQLITE_NOTADB, False),
        (sqlite3.SQLITE_TOOBIG, False),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, False),
    ],
)
def test_what_passes_of_sqlites_errors(code: int, passing: bool) -> None:
    assert mailbox_error(_of_sqlite(code), "x.db").passing is passing


def test_text_that_is_too_large_is_told_in_words_that_are_also_true_of_a_nack() -> None:
    told = str(mailbox_error(_of_sqlite(sqlite3.SQLITE_TOOBIG), "x.db"))
    assert "nothing was changed" in told
    assert "still held" in told


@pytest.mark.parametrize("there", [True, False])
def test_file_that_cannot_be_opened_passes_if_it_is_there(there: bool, tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    if there:
        file.touch()
    assert mailbox_error(_of_sqlite(sqlite3.SQLITE_CANTOPEN), str(file)).passing is there


async def test_file_that_another_program_keeps_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT", 0.01)
    file = tmp_path / "x.db"
    async with open_mailbox(f"sqlite:///{file}") as mailbox:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailableError) as caught:
            await mailbox.enqueue(b"", b"")
        assert caught.value.passing
        other.execute("ROLLBACK")
        other.close()
        await mailbox.enqueue(b"", b"")


async def test_folder_that_is_missing_does_not_pass(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailableError) as caught:
        await open_mailbox(f"sqlite:///{tmp_path}/missing/x.db")
    assert not caught.value.passing
