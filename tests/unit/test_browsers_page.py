"""``docs/browsers.md`` has each module that works around a browser, and names existing files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "browsers.md").read_text("utf-8")
NAMES: Final = re.compile(r"\b(Chromium|Firefox|JavaScriptCore|Safari|WebKit)\b")

NONE: Final = "\N{EN DASH}"
ADDRESS: Final = r"\[[^]]+\]\(https://[^)\s]+\)"


def test_files_exist() -> None:
    paths = set(re.findall(r"`((?:js|pymailbox|tests)/[\w./-]+)`", PAGE))
    assert len(paths) > 20
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_each_module_that_names_a_browser_is_there() -> None:
    """Comments in the engine name a browser where they work around it."""
    naming = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "js").rglob("*.js"))
        if NAMES.search(path.read_text("utf-8"))
    ]
    assert len(naming) > 5
    assert [path for path in naming if f"`{path}`" not in PAGE] == []


def test_each_quirk_has_an_address_or_says_that_there_is_none() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| what it does")]
    assert len(rows) > 20
    for row in rows:
        *_, where, more = row.strip("| ").split(" | ")
        assert "`" in where, row
        assert re.fullmatch(rf"{NONE}|{ADDRESS}(, {ADDRESS})*", more), row
