"""No block of README.md and docs/ is left out, and no link there leads nowhere."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.docs.blocks import BLOCKS, ELSEWHERE, IN_PYODIDE, LANES, PAGES
from tools.serve import ROOT

_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")


def test_each_block_is_run_somewhere() -> None:
    assert [(block.name, block.language) for block in BLOCKS if block.lane == ""] == []


def test_what_is_named_is_there() -> None:
    assert {language for language in LANES if all(block.language != language for block in BLOCKS)} <= {"html"}
    places = {place for block in BLOCKS for place in (block.name, block.heading, block.page)}
    assert places >= IN_PYODIDE
    assert [prefix for prefix in ELSEWHERE if not any(place.startswith(prefix) for place in places)] == []


@pytest.mark.parametrize("page", PAGES)
def test_each_link_leads_somewhere(page: str) -> None:
    for link in _LINK.findall((ROOT / page).read_text("utf-8")):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in PAGES[target.relative_to(ROOT).as_posix()].anchors, link
