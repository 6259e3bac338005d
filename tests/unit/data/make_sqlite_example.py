"""Writes a mailbox file of the present layout, with a message in every state there is, as ``sqlite_layout_N.sql``.

``python -m tests.unit.data.make_sqlite_example`` makes it for the present layout, unless it exists: once a layout is
released, its dump represents the files in use.
"""

import asyncio
import sqlite3
import sys
import tempfile
from pathlib import Path
from uuid import UUID

from pymailbox import MessagePriority, NewMessage, open_mailbox
from pymailbox.backends.sqlite import SqliteMailbox
from pymailbox.backends.sqlite.layout import APPLICATION_ID, SCHEMA_VERSION

DUMP = Path(__file__).parent / f"sqlite_layout_{SCHEMA_VERSION}.sql"
FOREVER = 50 * 365 * 86400


async def fill(file: Path) -> None:
    location = f"sqlite:///{file}#example"
    mailbox = await open_mailbox(location, max_deliveries=3)
    other = await open_mailbox(location, max_deliveries=3)
    assert isinstance(mailbox, SqliteMailbox)
    await mailbox.enqueue_many(NewMessage(b"alice", b"%d" % number) for number in range(4))
    await mailbox.dequeue(2)  # 0 and 1 are held together
    await mailbox.dequeue(1)  # 2 alone
    (nacked,) = await mailbox.dequeue(1)  # 3
    await mailbox.nack(nacked.id, error="try again")
    await mailbox.enqueue(b"bob", b"4", MessagePriority.HIGH, message_id=UUID(int=4))
    await mailbox.enqueue(b"bob", b"5", MessagePriority.NORMAL, delay=FOREVER)
    await mailbox.enqueue_many(NewMessage(b"carol", b"%d" % number, MessagePriority.HIGH) for number in (6, 7))
    high = {int(record.payload): record.id for record in await other.dequeue(3)}
    await other.dead_letter(high[7], "unwanted")
    await other.close()  # 4 and 6 were given back
    await mailbox.enqueue_many(NewMessage(b"", b"%d" % number) for number in (8, 9))
    dump(file)  # the holder of 0, 1 and 2 lives, and will be dead when the dump is read
    await mailbox.close()


def dump(file: Path) -> None:
    connection = sqlite3.connect(file)
    versions = [f"PRAGMA application_id = {APPLICATION_ID};", f"PRAGMA user_version = {SCHEMA_VERSION};"]
    DUMP.write_text("\n".join([*versions, *connection.iterdump()]) + "\n")
    connection.close()


if __name__ == "__main__":
    if DUMP.exists():
        sys.exit(f"{DUMP.name} is there; delete it first if its layout was never released")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(fill(Path(folder, "example.db")))
