"""Rows as a table, or one under the other where a table would not fit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TextIO

from .text import cut, pad, width_of, wrapped

_GAP: Final = "  "
_WIDEST: Final = 100
"""Columns that a cell takes at most where nothing limits the whole."""


class Column(NamedTuple):
    """A column of a table."""

    title: str
    right: bool = False
    """Numbers are aligned right."""
    least: int = 0
    """Columns that it can be cut to; 0 for a column that is never cut."""


def terminal_width(stream: TextIO) -> int | None:
    """How many columns the terminal has; None for a file or a pipe, where a line may be of any length."""
    if os.environ.get("COLUMNS", "").isdigit() or stream.isatty():
        return max(20, shutil.get_terminal_size().columns)
    return None


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """The lines of a table that is no wider than ``width``."""
    needed = [max(width_of(column.title), *(width_of(row[i]) for row in rows)) for i, column in enumerate(columns)]
    widths = [min(_WIDEST, need) if column.least else need for column, need in zip(columns, needed, strict=True)]
    if width is not None:
        _squeeze(columns, widths, width - len(_GAP) * (len(columns) - 1))
        if sum(widths) + len(_GAP) * (len(columns) - 1) > width:
            room = max(10, width - max(width_of(column.title) for column in columns) - len(_GAP))
            short = [
                [cut(cell, room) if column.least else cell for cell, column in zip(row, columns, strict=True)]
                for row in rows
            ]
            yield from blocks([column.title for column in columns], short, width)
            return
    for cells in ([column.title for column in columns], *rows):
        line = _GAP.join(
            pad(cut(cell, size), size, right=column.right)
            for cell, size, column in zip(cells, widths, columns, strict=True)
        )
        yield line.rstrip()


def _squeeze(columns: Sequence[Column], widths: list[int], room: int) -> None:
    """Narrows the widest of the columns that can be cut until all fit, or none can be narrowed further."""
    while sum(widths) > room:
        givers = [i for i, column in enumerate(columns) if column.least and widths[i] > column.least]
        if not givers:
            return
        widest = max(givers, key=lambda i: widths[i])
        widths[widest] -= 1


def blocks(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """The lines of rows as blocks, a field that is not empty a line; a line that is too long goes on below."""
    indent = max(map(width_of, titles)) + len(_GAP)
    room = None if width is None else max(10, width - indent)
    for number, row in enumerate(rows):
        if number:
            yield ""
        for title, cell in zip(titles, row, strict=True):
            if not cell:
                continue
            lines = [piece for line in cell.split("\n") for piece in ([line] if room is None else wrapped(line, room))]
            yield (pad(title, indent) + lines[0]).rstrip()
            yield from ((" " * indent + line).rstrip() for line in lines[1:])
