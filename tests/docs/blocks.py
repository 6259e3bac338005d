"""Every block of code in README.md and docs/, and where it is run.

Its language and page decide how a block is run, see `lane_of`. So a block that is added to a page is run without being
named anywhere; one that needs help, or prints something, is named where it is run. A name is the page and the heading
above the block, as GitHub links to it, and from the second block there its number: `docs/actors.md#not-now`,
`README.md#install 2`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Final

from tools.serve import ROOT

LANES: Final = {
    "console": "shell",  # commands behind `$ `, and what they print
    "html": "pyodide",
    "js": "page",  # a file, named in its first line
    "python": "cpython",
    "sh": "shell",
}
"""By language, unless something below says otherwise."""

IN_PYODIDE: Final = {
    "README.md#install 3",
    "docs/actors.md#without-await",
    "docs/in-a-page.md",
    "docs/transfer.md#in-a-page",
}
"""Pages, headings and blocks that are run beside Python in a web page, by tests/js/docs.chromium.spec.js."""

ELSEWHERE: Final = {
    "docs/jetstream.md#in-a-page": "needs a server; tests/nats/test_pages.py runs it",
    "docs/jetstream.md#the-stream": "settings; tests/unit/test_jetstream.py compares them with the code",
    "docs/recipes/": "whole programs; tests/unit/test_recipes.py knows them",
    "docs/reference.md": "signatures, which tests/unit/test_reference_page.py compares with the code, and examples; "
    "test_reference.py and tests/js/reference.spec.js run these",
    "docs/message-lifecycle.md#the-picture": "a picture; tests/unit/test_lifecycle.py compares it with the table",
}
"""Blocks that others run, and how."""


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    name: str
    page: str
    line: int
    """The number of its first line of code, from 1."""
    language: str
    code: str

    @property
    def heading(self) -> str:
        """Its name without its number."""
        return self.name.partition(" ")[0]

    @property
    def lane(self) -> str | None:
        """Where it is run: "cpython", "pyodide", "page", "shell", or "" for nowhere; None if others run it."""
        if any(self.name.startswith(prefix) for prefix in ELSEWHERE):
            return None
        if self.language in {"python", "js"} and not IN_PYODIDE.isdisjoint((self.name, self.heading, self.page)):
            return "pyodide"
        return LANES.get(self.language, "")


@dataclass(frozen=True)
class Page:
    """A page of the documentation."""

    anchors: list[str]
    """The anchors of its headings, as GitHub links to them."""
    blocks: list[Block]


@cache
def read(page: str) -> Page:
    """Parse a page."""
    anchors: list[str] = []
    blocks: list[Block] = []
    heading, fence, language, first, code = page, "", "", 0, ""
    counts: Counter[str] = Counter()
    for number, line in enumerate((ROOT / page).read_text("utf-8").splitlines(), 1):
        if fence and line.strip() == fence:
            counts[heading] += 1
            name = heading if counts[heading] == 1 else f"{heading} {counts[heading]}"
            blocks.append(Block(name, page, first, language, code))
            fence = ""
        elif fence:
            code += f"{line}\n"
        elif match := re.match(r" *(?:- )? *(`{3,}|~{3,})(.*)", line):
            fence, language, first, code = match[1], match[2].strip(), number + 1, ""
        elif match := re.match(r"#+ (.*)", line):
            anchors.append(_anchor(match[1], anchors))
            heading = f"{page}#{anchors[-1]}"
    assert not fence, f"{page}: a block is not closed"
    return Page(anchors, blocks)


def _anchor(heading: str, others: list[str]) -> str:
    text = re.sub(r"\]\([^)]*\)", "", heading)
    anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
    numbers = ["", *(f"-{number}" for number in range(1, len(others) + 1))]
    return next(f"{anchor}{number}" for number in numbers if f"{anchor}{number}" not in others)


PAGES: Final = {
    page: read(page)
    for page in ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
}
BLOCKS: Final = [block for page in PAGES.values() for block in page.blocks]


def blocks_in(lane: str) -> dict[str, list[Block]]:
    """The blocks of a lane by page: the blocks of a page continue each other."""
    pages: dict[str, list[Block]] = {}
    for block in BLOCKS:
        if block.lane == lane:
            pages.setdefault(block.page, []).append(block)
    return pages
