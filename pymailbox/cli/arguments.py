"""The commands and their options, for argparse."""

from __future__ import annotations

import argparse
from typing import Final
from uuid import UUID

from .. import __version__
from ..contract.limits import LONGEST_DELAY
from ..contract.location import DEFAULT_SQLITE_FILE

_FILE_LOCATION: Final = f"""\
LOCATION is FILE, FILE#NAME or sqlite:///FILE#NAME, or just the NAME of a
mailbox in {DEFAULT_SQLITE_FILE}. Without a NAME it is the only mailbox in the file.
"""

_LOCATION: Final = f"""\
{_FILE_LOCATION}
On NATS servers it is nats://HOST:PORT,HOST:PORT/NAME?stream=STREAM (also tls,
ws and wss). The environment says who connects: NATS_USER and NATS_PASSWORD,
NATS_TOKEN, NATS_CREDS, NATS_NKEY; NATS_CA, NATS_CERT, NATS_KEY for TLS.
"""

_GRACE: Final = 8
"""Seconds; Docker kills what has not stopped after 10."""

_EXITS: Final = """\
exit codes: 0 done; 1 not done, or not completely, and the standard error says
why; 2 the command is not valid, and nothing was done; 130 ended by Ctrl-C;
141 the reader of its output has gone away. work: 0 stopped, and all that ran
has finished; 1 some of it was cut off; 128 and its number ended by a second
signal
"""


def parser() -> argparse.ArgumentParser:
    """All of the command line."""
    top = argparse.ArgumentParser(
        "pymailbox",
        description="Shows and changes what is in mailboxes in SQLite files and on NATS servers, even while others use "
        "them.",
        epilog=f"{_LOCATION}\n{_EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"pymailbox {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(
        name: str, about: str, *, location_needed: bool = True, name_needed: bool = True, handler_needed: bool = False
    ) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name,
            help=about,
            description=about[0].upper() + about[1:] + ".",
            epilog=_LOCATION if name_needed else _FILE_LOCATION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if handler_needed:
            one.add_argument(
                "handler", metavar="MODULE:HANDLER", help="a function in a module that can be imported from here"
            )
        if location_needed:
            one.add_argument("location", metavar="LOCATION")
        else:
            one.add_argument("location", metavar="LOCATION", nargs="?", default=DEFAULT_SQLITE_FILE)
        if name_needed:
            one.add_argument("-m", "--mailbox", metavar="NAME", help="the name of the mailbox, taken literally")
        return one

    def json_option(one: argparse.ArgumentParser) -> None:
        one.add_argument("--json", action="store_true", help="write JSON, for programs")

    stats = command("stats", "counts messages, in one mailbox or in all of the file or stream", location_needed=False)
    json_option(stats)

    peek = command("peek", "shows messages and changes nothing")
    peek.add_argument("-n", "--limit", type=_count, default=20, metavar="N", help="show up to N messages (default: 20)")
    peek.add_argument("--status", choices=("queued", "inflight"), help="only messages with this status")
    peek.add_argument("--full", action="store_true", help="all of each message, as blocks of lines")
    json_option(peek)

    enqueue = command("enqueue", "stores the standard input as one message, or each line of it as a message")
    enqueue.add_argument("--lines", action="store_true", help="each line is a message, without its line end")
    enqueue.add_argument("--priority", choices=("normal", "high"), default="normal")
    enqueue.add_argument("--delay", type=_seconds, metavar="SECONDS", help="how long to keep it from being handed out")
    enqueue.add_argument("--sender", default="", metavar="TEXT", help="who sends it (default: empty)")
    enqueue.add_argument("--id", type=_uuid, metavar="UUID", help="its id; if that is known, nothing is stored")
    json_option(enqueue)

    drain = command("drain", "takes messages out as lines of JSON, and deletes them once they are written")
    drain.add_argument("-n", "--limit", type=_count, metavar="N", help="no more than N messages")
    drain.add_argument("--wait", type=_seconds, default=0, metavar="SECS", help="how long to wait if it is empty")

    dead = command("dead", "shows the dead letters, the newest first")
    dead.add_argument("-n", "--limit", type=_count, default=20, metavar="N", help="show up to N of them (default: 20)")
    dead.add_argument("--full", action="store_true", help="all of each, with its error, as blocks of lines")
    json_option(dead)

    for name, about in (
        ("redrive", "puts dead letters back into the queue, as new"),
        ("discard", "deletes dead letters for good"),
    ):
        one = command(name, about)
        one.add_argument("ids", metavar="ID", nargs="*", type=_uuid)
        one.add_argument("--all", action="store_true", help="all dead letters of the mailbox")
        if name == "discard":
            one.add_argument("-y", "--yes", action="store_true", help="do not ask before --all")
        json_option(one)

    purge = command("purge", "deletes all queued messages; inflight ones and dead letters stay")
    purge.add_argument("-y", "--yes", action="store_true", help="do not ask")
    json_option(purge)

    export = command("export", "writes everything in a mailbox as lines of JSON, and changes nothing")
    export.add_argument(
        "-o", "--output", type=_file, metavar="FILE", help="write to this file, completely or not at all"
    )

    import_ = command("import", "stores the messages of an export; those already there are left alone")
    import_.add_argument("file", type=_file, metavar="FILE", nargs="?", default="-", help="default: the standard input")
    json_option(import_)

    backup = command("backup", "copies a file with all its mailboxes, while others use it", name_needed=False)
    backup.add_argument("path", type=_file, metavar="PATH", help="where to put the copy; nothing may be there yet")
    json_option(backup)

    compact = command("compact", "returns unused space in a file to the disk, while others use it", name_needed=False)
    json_option(compact)

    work = command("work", "calls a function with each message, as they come, until it is stopped", handler_needed=True)
    work.add_argument(
        "-c", "--concurrency", type=_count, default=1, metavar="N", help="up to N calls at the same time (default: 1)"
    )
    work.add_argument("--ordered-by-sender", action="store_true", help="messages of one sender one after the other")
    work.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="how long a call may take (default: for ever); for async handlers, since no thread can be ended",
    )
    work.add_argument(
        "--max-deliveries",
        type=_count,
        metavar="N",
        help="after N failures it is a dead letter (default: never)",
    )
    work.add_argument(
        "--grace",
        type=_seconds,
        default=_GRACE,
        metavar="SECONDS",
        help=f"how long running calls have to finish after SIGTERM or Ctrl-C (default: {_GRACE})",
    )
    return top


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:18]) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return min(int(text[:18]), 10**9)


def _file(text: str) -> str:
    if not text:  # as "$FILE" gives it where there is no such variable
        raise argparse.ArgumentTypeError("must be the name of a file, not ''")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= LONGEST_DELAY:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, 0 or more, not {text!r}")
    return seconds


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a UUID, such as 0b1f8a86-8ad6-4f2e-8d4b-1f7a3f6b9c11, not {text!r}"
        ) from None
