"""From the command line to a command, and from how it ended to an exit code."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from ..contract.errors import MailboxError
from .arguments import parser
from .errors import INTERRUPTED, OK, PIPE_CLOSED, PROBLEM, USAGE, ProblemError, UsageError
from .files import backup_file, compact_file, export_mailbox, import_mailbox
from .read_commands import dead, peek, stats
from .servers import as_told_here
from .streams import leave_closed_pipe, warn, with_standard_error
from .text import one_line
from .worker import work
from .write_commands import discard, drain, enqueue, purge, redrive

_COMMANDS: Final[dict[str, Callable[[Namespace], Coroutine[Any, Any, int]]]] = {
    "stats": stats,
    "peek": peek,
    "enqueue": enqueue,
    "drain": drain,
    "dead": dead,
    "redrive": redrive,
    "discard": discard,
    "purge": purge,
    "export": export_mailbox,
    "import": import_mailbox,
    "backup": backup_file,
    "compact": compact_file,
    "work": work,
}


@with_standard_error()
def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: what comes after the program's name; None for the command line of this process.

    Returns:
        The exit code: 0 done, 1 a problem, 2 an invalid command, 130 interrupted, 141 a closed pipe, 128 and
        its number for a signal that ended ``work`` at once.
    """
    try:
        arguments = parser().parse_args(argv)
        if sys.stdout is None:
            raise ProblemError("there is no standard output to write to")
        with _interruptible():
            return asyncio.run(_COMMANDS[arguments.command](arguments))
    except SystemExit as ending:  # of argparse, which has said why, or of a handler
        return _ended(ending.code)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED
    except BrokenPipeError:
        leave_closed_pipe()
        return PIPE_CLOSED
    except UsageError as error:
        return _fail(error, USAGE)
    except (MailboxError, ProblemError, OSError, ValueError) as error:
        return _fail(error, PROBLEM)


def _ended(code: object) -> int:
    """What ``sys.exit(code)`` means everywhere: a text is for people."""
    if code is None or isinstance(code, int):
        return OK if code is None else code
    warn(str(code))
    return PROBLEM


def _fail(error: Exception, code: int) -> int:
    text = as_told_here(str(error))
    if isinstance(error, OSError):
        text = f"{error.filename or 'reading or writing failed'}: {error.strerror}"
    warn(one_line(text))
    for note in getattr(error, "__notes__", ()):
        warn(note)
    return code


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends whatever runs at once, also a read of the standard input, for which asyncio would wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt
