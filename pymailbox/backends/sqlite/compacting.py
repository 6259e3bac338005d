"""Makes a mailbox file smaller while others use it, in small steps between which calls run."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import Final

from ...contract.errors import MailboxError, StorageUnavailableError
from . import rows, verbs
from .copying import in_thread, require_file
from .database import Database
from .engine import Access, Engine
from .headroom import size_with_log
from .read_only import may_write
from .session import Session

_PATIENCE: Final = 5.0
"""Seconds for which others may keep the log from being moved into the file; somebody's commit does it later."""

_PAUSE: Final = 0.005
"""Seconds between two steps, so that others who wait for the file get it."""


async def compact(file: str) -> int:
    """Gives the file's free space back to the disk; returns by how many bytes file and log became smaller.

    Raises:
        StorageUnavailableError: there is no such file, or it cannot be written. StorageFullError: an older version made
        it, and there is no room to rewrite it.
    """
    require_file(file)
    if not may_write(file):  # otherwise SQLite would make files beside it that would get in others' way
        raise StorageUnavailableError(
            f"the mailbox file {file} can't be written. Give yourself write permission for the file and its folder"
        )
    before = size_with_log(file)
    database = Database.acquire(file)
    try:
        for name in await database.run(verbs.mailbox_names, Access.READ):
            # damage is left to those who use the file
            with suppress(rows.UnreadableError, MailboxError):
                await database.run(partial(_sweep, name=name), Access.WRITE)
        while await in_thread(partial(database.work_between_calls, Engine.shrink)):  # noqa: ASYNC110 (it does a step)
            await asyncio.sleep(_PAUSE)
        until = time.monotonic() + _PATIENCE
        while not await in_thread(partial(database.work_between_calls, Engine.empty_log)):
            if time.monotonic() > until:
                break
            await asyncio.sleep(_PAUSE)
    except BaseException:
        database.release_soon()
        raise
    after = size_with_log(file)
    await database.release()
    return max(0, before - after)


def _sweep(session: Session, name: str) -> None:
    """Deletes the bytes of acknowledged messages."""
    if (mailbox := session.mailbox(name)) is not None:
        mailbox.sweep(everything=True)
