"""Pages of docs/ that are partly written from code: what is between two marks.

The tests fail when a page no longer says what the code does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def cut(text: str, tool: str) -> tuple[str, str, str]:
    """A page before, between and after the marks of a tool.

    Raises:
        ValueError: the marks are not there.
    """
    begin, end = f"<!-- begin: written by tools/{tool} -->\n", f"<!-- end: written by tools/{tool} -->"
    before, found, rest = text.partition(begin)
    generated, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"the page does not have both marks of tools/{tool}")
    return before + begin, generated, end + after


def rewrite(page: str, tool: str, text: str) -> None:
    """Put a text between the marks of a tool in a page."""
    path = DOCS / page
    before, _, after = cut(path.read_text(encoding="utf-8"), tool)
    path.write_text(before + text + after, encoding="utf-8")


def generated_part(page: str, tool: str) -> str:
    """What is between the marks."""
    return cut((DOCS / page).read_text(encoding="utf-8"), tool)[1]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]
