"""Texts that fit a terminal and do it no harm: what senders wrote is shown, never interpreted."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

_ELLIPSIS: Final = "…"
_UNITS: Final = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}


def one_line(text: str) -> str:
    """The text with everything escaped that is not printable: line ends, escape sequences, text directions."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii") for c in text
    )


def preview(data: bytes, most: int = 200) -> str:
    """The beginning of some bytes, as text if they are UTF-8, else in hexadecimal."""
    start = data[:most]
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) <= most or error.start < len(start) - 3:
            return f"0x{start.hex()}{_ELLIPSIS if len(data) > most else ''}"
        text = start[: error.start].decode("utf-8")
    return one_line(text) + (_ELLIPSIS if len(data) > most else "")


def width_of(text: str) -> int:
    """Columns that a printable text takes."""
    return sum(_width(character) for character in text)


def cut(text: str, width: int) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    if width_of(text) <= width:
        return text
    kept, left = [], width - 1
    for character in text:
        left -= _width(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept) + _ELLIPSIS if width > 0 else ""


def pad(text: str, width: int, *, right: bool = False) -> str:
    space = " " * (width - width_of(text))
    return space + text if right else text + space


def age(since: datetime, now: datetime) -> str:
    """How long ago, in the largest unit that fits: ``3m``."""
    for unit, step in _UNITS.items():
        if now - since >= step:
            return f"{(now - since) // step}{unit}"
    return "0s"


def counted(number: int, noun: str) -> str:
    """``1 message``, ``1,200 messages``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def byte_count(number: int) -> str:
    """``812 B``, ``1.2 MB``."""
    size, units = float(number), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:,.0f} {units[0]}" if units[0] == "B" else f"{size:,.1f} {units[0]}"


def wrapped(text: str, width: int) -> Iterable[str]:
    """The text in pieces of a width, cut wherever they are full."""
    piece: list[str] = []
    taken = 0
    for character in text:
        if taken + _width(character) > width and piece:
            yield "".join(piece)
            piece, taken = [], 0
        piece.append(character)
        taken += _width(character)
    yield "".join(piece)


def _width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
