"""``docs/glossary.md`` is in order, and names existing files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
ENTRIES: Final = re.split(r"\n- (?=\*\*)", (ROOT / "docs" / "glossary.md").read_text("utf-8"))[1:]
FOLDERS: Final = {
    "actors": "pymailbox/actors",
    "core": "pymailbox/core",
    "indexeddb": "pymailbox/backends/indexeddb",
    "jetstream": "pymailbox/backends/jetstream",
    "memory": "pymailbox/backends/memory",
    "relaying": "pymailbox/relaying",
    "sqlite": "pymailbox/backends/sqlite",
}
"""What the short paths stand for, as the glossary says."""


def _in_full(path: str) -> Path:
    folder, _, rest = path.partition("/")
    return ROOT / FOLDERS.get(folder, folder) / rest


def test_terms_are_in_alphabetical_order() -> None:
    terms = [entry.split("**")[1].lower() for entry in ENTRIES]
    assert len(terms) > 50
    assert terms == sorted(set(terms))


def test_files_exist() -> None:
    paths = [path for entry in ENTRIES for path in re.findall(r"`([\w.-]+/[\w./-]*)`", entry)]
    assert len(paths) > 50
    assert [path for path in paths if not _in_full(path).exists()] == []
