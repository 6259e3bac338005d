"""The commands and their options, as argparse knows them."""

from __future__ import annotations

import argparse
from typing import Final
from uuid import UUID

from .. import __version__
from .._arguments import LONGEST_DELAY
from .._location import DEFAULT_SQLITE_FILE

_LOCATION: Final = f"""\
LOCATION is FILE, FILE#NAME or sqlite:///FILE#NAME, or just the NAME of a
mailbox in {DEFAULT_SQLITE_FILE}. Without a NAME it is the only mailbox in the file.
"""

_EXITS: Final = """\
exit codes: 0 done; 1 not done, or not all of it, and the standard error says
why; 2 the command makes no sense, and nothing was done; 130 ended by Ctrl-C;
141 the reader of its output has gone
"""


def parser() -> argparse.ArgumentParser:
    """All of the command line."""
    top = argparse.ArgumentParser(
        "pymailbox",
        description="Looks at mailboxes in SQLite files, and works on them while others do.",
        epilog=f"{_LOCATION}\n{_EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"pymailbox {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, about: str, *, location_needed: bool = True) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name,
            help=about,
            description=about[0].upper() + about[1:] + ".",
            epilog=_LOCATION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if location_needed:
            one.add_argument("location", metavar="LOCATION")
        else:
            one.add_argument("location", metavar="LOCATION", nargs="?", default=DEFAULT_SQLITE_FILE)
        one.add_argument("-m", "--mailbox", metavar="NAME", help="the mailbox in the file, just as it is written")
        return one

    def json_option(one: argparse.ArgumentParser) -> None:
        one.add_argument("--json", action="store_true", help="for programs: JSON")

    stats = command("stats", "how many messages there are, of one mailbox or of all in the file", location_needed=False)
    json_option(stats)

    peek = command("peek", "shows messages and changes nothing")
    peek.add_argument("-n", "--limit", type=_count, default=20, metavar="N", help="so many of them (default: 20)")
    peek.add_argument("--status", choices=("queued", "inflight"), help="only these")
    peek.add_argument("--full", action="store_true", help="all of each message, one below the other")
    json_option(peek)

    enqueue = command("enqueue", "stores what comes in on the standard input as one message, or each line as one")
    enqueue.add_argument("--lines", action="store_true", help="each line is a message, without its end")
    enqueue.add_argument("--priority", choices=("normal", "high"), default="normal")
    enqueue.add_argument("--delay", type=_seconds, metavar="SECONDS", help="not to be handed out before then")
    enqueue.add_argument("--sender", default="", metavar="TEXT", help="who sends it (default: nobody)")
    enqueue.add_argument("--id", type=_uuid, metavar="UUID", help="stored only if the mailbox has none of that id")
    json_option(enqueue)

    drain = command("drain", "takes messages out, each a line of JSON, and deletes them once they are written")
    drain.add_argument("-n", "--limit", type=_count, metavar="N", help="no more than so many")
    drain.add_argument("--wait", type=_seconds, default=0, metavar="SECS", help="go on for so long while it is empty")

    dead = command("dead", "shows the dead letters, the newest first")
    dead.add_argument("-n", "--limit", type=_count, default=20, metavar="N", help="so many of them (default: 20)")
    dead.add_argument("--full", action="store_true", help="all of each, with its error, one below the other")
    json_option(dead)

    for name, about in (
        ("redrive", "puts dead letters back into the queue, as new"),
        ("discard", "deletes dead letters for good"),
    ):
        one = command(name, about)
        one.add_argument("ids", metavar="ID", nargs="*", type=_uuid)
        one.add_argument("--all", action="store_true", help="all that there are")
        if name == "discard":
            one.add_argument("-y", "--yes", action="store_true", help="do not ask about --all")
        json_option(one)

    purge = command("purge", "deletes all queued messages; those inflight and the dead letters stay")
    purge.add_argument("-y", "--yes", action="store_true", help="do not ask")
    json_option(purge)

    export = command("export", "writes all that is in a mailbox as lines of JSON, and changes nothing")
    export.add_argument("-o", "--output", metavar="FILE", help="into a file, whole or not at all")

    import_ = command("import", "stores the messages of an export; those that are there already are left alone")
    import_.add_argument("file", metavar="FILE", nargs="?", default="-", help="default: the standard input")
    json_option(import_)
    return top


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:18]) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return min(int(text[:18]), 10**9)


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
