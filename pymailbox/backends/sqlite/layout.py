"""How messages are stored in the file.

All mailboxes of a file share its tables, so that one transaction can touch several. Messages are written once, several
to a segment where they were committed together, and deleted once. Where each of them is, is in its mailbox's state
(``pymailbox.core``): the head is one row, and pages that do not fit into it have rows of their own. A number that the
state does not mention is dead, and its segment is about to be deleted; a segment beyond everything that the head knows
is *loose*: its messages are queued, and the next commit that writes the head counts them in.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x706D6278
"""``pmbx``: in the file's header, to identify it."""

SCHEMA_VERSION: Final = 3

TABLES: Final = (
    """
    CREATE TABLE mailboxes (
        mailbox INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        id_base BLOB NOT NULL, -- 16 bytes; with a priority and a number it makes a message's id
        head BLOB NOT NULL -- counts, who holds what, and the pages that were used last
    )
    """,
    # neighbouring messages that were committed together; a lane is a priority
    """
    CREATE TABLE segments (
        mailbox INTEGER NOT NULL,
        lane INTEGER NOT NULL,
        last INTEGER NOT NULL, -- the number of its last message
        first INTEGER NOT NULL,
        body BLOB NOT NULL, -- its messages, one after the other
        PRIMARY KEY (mailbox, lane, last)
    )
    """,
    # where the messages of some neighbouring numbers are, unless the head says that
    """
    CREATE TABLE pages (
        mailbox INTEGER NOT NULL,
        lane INTEGER NOT NULL,
        page INTEGER NOT NULL,
        queued INTEGER NOT NULL, -- 1 if some of them can be handed out
        due INTEGER, -- when the first delayed one is due; milliseconds since 1970, UTC
        body BLOB NOT NULL,
        PRIMARY KEY (mailbox, lane, page)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX pages_queued ON pages (mailbox, lane, page) WHERE queued = 1",
    "CREATE INDEX pages_due ON pages (mailbox, lane, due, page) WHERE due IS NOT NULL",
    # custom ids; the others are made from the numbers
    """
    CREATE TABLE ids (
        mailbox INTEGER NOT NULL,
        id BLOB NOT NULL, -- 16 bytes
        lane INTEGER NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (mailbox, id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX ids_by_number ON ids (mailbox, lane, number)",
    # the error of a message's last nack
    """
    CREATE TABLE errors (
        mailbox INTEGER NOT NULL,
        lane INTEGER NOT NULL,
        number INTEGER NOT NULL,
        error TEXT NOT NULL,
        PRIMARY KEY (mailbox, lane, number)
    ) WITHOUT ROWID
    """,
    # why a message is a dead letter; its bytes stay where they are
    """
    CREATE TABLE dead_letters (
        mailbox INTEGER NOT NULL,
        letter INTEGER NOT NULL, -- the newest has the largest
        lane INTEGER NOT NULL,
        number INTEGER NOT NULL,
        reason TEXT NOT NULL,
        died_at INTEGER NOT NULL, -- milliseconds since 1970, UTC
        PRIMARY KEY (mailbox, letter)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX dead_letters_by_number ON dead_letters (mailbox, lane, number)",
    # ids that stay known, whatever happens to their messages
    """
    CREATE TABLE remembered (
        mailbox INTEGER NOT NULL,
        id BLOB NOT NULL, -- 16 bytes
        until INTEGER NOT NULL, -- milliseconds since 1970, UTC
        PRIMARY KEY (mailbox, id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX remembered_until ON remembered (mailbox, until)",
)

OF_MAILBOX: Final = ("segments", "pages", "ids", "errors", "dead_letters", "remembered", "mailboxes")
"""The tables in which a mailbox has rows."""
