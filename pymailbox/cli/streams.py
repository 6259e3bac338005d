"""The standard streams, as the commands use them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .errors import UsageError


def print_lines(lines: Iterable[str]) -> None:
    """Lines for people, on the standard output."""
    out = sys.stdout
    for line in lines:
        out.write(_encodable(line, out.encoding) + "\n")
    out.flush()


def print_json(data: Any) -> None:
    """One JSON value, on the standard output; in ASCII, whatever the terminal speaks."""
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


@contextmanager
def with_standard_error() -> Iterator[None]:
    """Where it is closed (``2>&-``), what is written there vanishes, instead of ending the command."""
    if sys.stderr is not None:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stderr = nowhere
        try:
            yield
        finally:
            sys.stderr = None


def warn(text: str) -> None:
    """A line for people, on the standard error."""
    with suppress(OSError):
        sys.stderr.write(_encodable(f"pymailbox: {text}", sys.stderr.encoding) + "\n")
        sys.stderr.flush()


def standard_input(hint: str) -> BinaryIO:
    """The bytes that come in; if they come from a person, says what it waits for."""
    if sys.stdin is None:
        raise UsageError("there is no standard input")
    if sys.stdin.isatty():
        warn(f"reading {hint} from the terminal; end with Ctrl-D")
    return sys.stdin.buffer


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Takes bytes; everything written has left this process at the end."""
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


async def have_been_read(out: BinaryIO) -> None:
    """Waits, where ``out`` is a pipe and the system can tell, until its reader has taken all that was written.

    A pipe holds some 64 KiB. What is still in it when its reader goes away was written, and is lost all the same.

    Raises:
        BrokenPipeError: the reader has gone away without reading everything.
    """
    try:
        file = out.fileno()
        if not stat.S_ISFIFO(os.fstat(file).st_mode):
            return
        import fcntl
        import select
        import termios
    except (ImportError, OSError):  # Windows, or no file at all
        return
    reader = select.poll()
    reader.register(file, 0)
    pause = 0.0
    while struct.unpack("i", fcntl.ioctl(file, termios.FIONREAD, b"\0" * 4))[0] > 0:
        if reader.poll(0):
            raise BrokenPipeError
        await asyncio.sleep(pause)
        pause = min(0.02, pause + 0.0005)


@contextmanager
def reading(file: str, hint: str) -> Iterator[BinaryIO]:
    """A file's bytes, or for ``-`` those of the standard input."""
    if file == "-":
        yield standard_input(hint)
    else:
        with Path(file).open("rb") as opened:
            yield opened


@contextmanager
def whole_file(file: str) -> Iterator[BinaryIO]:
    """A file that appears under its name once all of it is written; until then, what was there stays.

    A link stays one, and who may read what was there may read what comes in its place, and nobody else.
    """
    named = Path(file)
    if named.exists() and not named.is_file():  # a device or a pipe
        with named.open("wb") as device:
            yield device
        return
    target = Path(os.path.realpath(file))
    mode = 0o600 if target.exists() else 0o666
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        beside.unlink(missing_ok=True)
        with open(beside, "wb", opener=lambda path, flags: os.open(path, flags | os.O_EXCL, mode)) as part:
            if target.exists():
                shutil.copymode(target, beside)
            yield part
            part.flush()
            os.fsync(part.fileno())
        beside.replace(target)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = file  # the name that was asked for
        with suppress(OSError):
            beside.unlink()
        raise


def confirm(question: str, *, yes: bool) -> bool:
    """Whether to do what can't be undone: confirmed in advance with ``--yes``, or now by a person.

    Raises:
        UsageError: there is nobody to ask.
    """
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"{question} Confirm with --yes, since there is no terminal to ask at")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def leave_closed_pipe() -> None:
    """Keeps Python from complaining at exit that there was still something to write."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _encodable(text: str, encoding: str | None) -> str:
    """With an escape for each character that the terminal cannot show."""
    encoding = encoding or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)
