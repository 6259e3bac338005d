"""Docstrings as Markdown: sections become lists, double backquotes single ones, indented text code."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from itertools import groupby
from typing import Final

_SECTION: Final = re.compile(r"(Args|Raises|Returns|Yields):")
_ITEM: Final = re.compile(r"(\*{0,2}[\w., ]+): (.*)", re.DOTALL)
_CODE: Final = re.compile(r"(`+[^`]*`+)")


def prose(text: str) -> str:
    """A paragraph on one line."""
    parts = _CODE.split(" ".join(text.split()).replace("``", "`"))
    # every other part is code, in which nothing has a special meaning
    return "".join(part if place % 2 else _escaped(part) for place, part in enumerate(parts))


def summary(docstring: str) -> str:
    """The first paragraph."""
    return prose(docstring.partition("\n\n")[0])


def markdown(docstring: str, language: str = "python") -> list[str]:
    """Lines of Markdown, with an empty one between blocks; what is indented is code of the language."""
    blocks = [block for part in _parts(docstring.splitlines()) for block in _blocks_of(part, language)]
    return "\n\n".join(blocks).splitlines()


def _escaped(text: str) -> str:
    return re.sub(r"([*<])", r"\\\1", text)


def _parts(lines: list[str]) -> Iterator[list[str]]:
    """A section with its heading, or a block of lines that are all indented or all not."""
    part: list[str] = []
    for line in lines:
        indented = not line or line.startswith("    ")
        within = bool(part) and (_SECTION.fullmatch(part[0]) or part[0].startswith("    "))
        begins = bool(part) and ((within and not indented) or (not within and not part[-1]))
        if begins or (part and _SECTION.fullmatch(line)):
            yield part
            part = []
        if line or part:
            part.append(line)
    if part:
        yield part


def _blocks_of(part: list[str], language: str) -> Iterator[str]:
    section = _SECTION.fullmatch(part[0])
    text = textwrap.dedent("\n".join(part[1:] if section else part)).strip()
    if section is None and part[0].startswith("    "):
        yield f"```{language}\n{text}\n```"
    elif section is None:
        yield "\n".join(f"- {prose(item)}" for item in _items(text)) if text.startswith("- ") else prose(text)
    elif section[1] in ("Returns", "Yields"):
        yield f"{section[1]}: {prose(text)}"
    else:
        yield "Arguments:" if section[1] == "Args" else "Raises:"
        yield "\n".join(_described(item) for item in _entries(text))


def _items(text: str) -> list[str]:
    return re.split(r"\n- ", text.removeprefix("- "))


def _entries(text: str) -> list[str]:
    """Lines that are not indented, each with the indented ones after it."""
    numbers: list[int] = []
    for line in text.splitlines():
        numbers.append((numbers[-1] if numbers else 0) + (not line.startswith(" ")))
    numbered = zip(numbers, text.splitlines(), strict=True)
    return ["\n".join(line for _, line in group) for _, group in groupby(numbered, key=lambda pair: pair[0])]


def _described(entry: str) -> str:
    """An argument, or one or several errors."""
    found = _ITEM.fullmatch(entry)
    if found is None:
        return f"- {prose(entry)}"
    names = ", ".join(f"`{name}`" for name in found[1].split(", "))
    return f"- {names}: {prose(found[2])}"
