"""No block of README.md and docs/ is left out, and no link there is broken."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.docs.blocks import BLOCKS, ELSEWHERE, IN_PYODIDE, LANES, PAGES, blocks_in, read
from tools.serve import ROOT

_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")


def test_each_block_is_run_somewhere() -> None:
    assert [(block.name, block.language) for block in BLOCKS if block.lane == ""] == []


def test_each_block_of_javascript_names_its_file() -> None:
    blocks = [block for blocks in blocks_in("page").values() for block in blocks]
    files = [match[1] if (match := re.match(r"// ([\w-]+\.js)\n", block.code)) else block.name for block in blocks]
    assert [name for name in files if not name.endswith(".js") or files.count(name) > 1] == []


def test_what_is_named_is_there() -> None:
    assert {block.language for block in BLOCKS} >= LANES.keys()
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
            assert anchor in read(target.relative_to(ROOT).as_posix()).anchors, link
