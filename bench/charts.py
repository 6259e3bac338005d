"""Charts of results, as SVG: bars on a logarithmic scale, and lines over the backlog."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import NamedTuple

from bench.plan import BACKLOGS, BYTES, OURS
from bench.results import Figures
from bench.targets import Results

WIDTH = 720
LABELS = 180
VALUES = 110
BAR = 18
GAP = 6
TOP = 52

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.note { fill: #57606a; font-size: 12px }
.ours { fill: #1f6feb }
.other { fill: #afb8c1 }
.spread { stroke: #24292f; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .note { fill: #9198a1 } .other { fill: #656c76 } .spread { stroke: #e6edf3 }
}
"""


@dataclass(frozen=True)
class Bars:
    """A chart of one row."""

    file: str
    title: str
    case: str
    engine: str
    batch: int


class Bar(NamedTuple):
    """One bar, and its spread."""

    label: str
    ours: bool
    median: float
    min: float
    max: float


@dataclass(frozen=True)
class Growth:
    """A chart of one case over the backlog."""

    file: str
    title: str
    case: str
    engine: str
    batch: int


CHARTS = (
    Bars("whole-life-100", "A message's whole life, 100 at a time, Chromium", "whole_life", "chromium", 100),
    Bars("whole-life-1", "A message's whole life, one at a time, Chromium", "whole_life", "chromium", 1),
    Bars("enqueue", "One awaited enqueue after another, Chromium", "enqueue", "chromium", 1),
    Bars("producers", "32 producers that each await, Chromium", "producers", "chromium", 32),
    Bars("enqueue-many", "1,000 messages a call, Chromium", "enqueue_many", "chromium", 1000),
    Bars("whole-life-100-firefox", "A message's whole life, 100 at a time, Firefox", "whole_life", "firefox", 100),
    Bars(
        "whole-life-100-cpython",
        "A message's whole life, 100 at a time, SQLite on CPython",
        "whole_life",
        "cpython",
        100,
    ),
    Bars(
        "whole-life-1-cpython", "A message's whole life, one at a time, SQLite on CPython", "whole_life", "cpython", 1
    ),
    Growth("dequeue-backlog", "One dequeue of 32 messages, by backlog, Chromium", "dequeue_at", "chromium", 32),
    Growth("status-backlog", "One status call, by backlog, Chromium", "status_at", "chromium", 32),
)


def draw(results: Results, folder: Path) -> dict[Path, str]:
    """Draws the charts whose rows were measured; returns their files and titles."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for chart in CHARTS:
        svg = _bars_of(chart, results) if isinstance(chart, Bars) else _growth_of(chart, results)
        if svg is not None:
            path = folder / f"{chart.file}.svg"
            path.write_text(svg, encoding="utf-8")
            drawn[path] = chart.title
    return drawn


def _bars_of(chart: Bars, results: Results) -> str | None:
    result = results.get((chart.case, chart.engine, BYTES, chart.batch, "strict"))
    if result is None:
        return None
    bars = [_bar(name, name, figures) for name, figures in result["results"].items()]
    bars.sort(key=lambda bar: bar.median, reverse=result["unit"].endswith("/s"))
    return _bars(chart.title, f"{result['unit']}, 1 KiB, strict; logarithmic; more is better", bars)


def _growth_of(chart: Growth, results: Results) -> str | None:
    bars: list[Bar] = []
    for backlog in BACKLOGS:
        result = results.get((f"{chart.case}_{backlog}", chart.engine, BYTES, chart.batch, "strict"))
        if result is None:
            return None
        bars += [_bar(name, f"{name}, {backlog // 1000}k", figures) for name, figures in result["results"].items()]
    bars.sort(key=lambda bar: not bar.ours)
    return _bars(chart.title, "milliseconds, 1 KiB; logarithmic; less is better", bars)


def _bar(name: str, label: str, figures: Figures) -> Bar:
    return Bar(label, name == OURS, figures["median"], figures["min"], figures["max"])


def _bars(title: str, note: str, bars: list[Bar]) -> str:
    height = TOP + len(bars) * (BAR + GAP) + GAP
    low = 10 ** math.floor(math.log10(min(bar.min for bar in bars)))
    high = max(bar.max for bar in bars)

    def x(value: float) -> float:
        span = WIDTH - LABELS - VALUES
        return LABELS + span * math.log(max(value, low) / low) / math.log(max(high, low * 1.01) / low)

    def parts() -> Iterator[str]:
        yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        yield f"<title>{escape(title)}</title><style>{STYLE}</style>"
        yield f'<text class="title" x="8" y="20">{escape(title)}</text>'
        yield f'<text class="note" x="8" y="38">{escape(note)}</text>'
        for i, (label, ours, value, least, most) in enumerate(bars):
            y = TOP + i * (BAR + GAP)
            middle = y + BAR / 2
            yield f'<text x="{LABELS - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(label)}</text>'
            kind = "ours" if ours else "other"
            yield f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{x(value) - LABELS + 1:.1f}" height="{BAR}"/>'
            yield f'<path class="spread" d="M{x(least):.1f} {middle}H{x(most):.1f}"/>'
            yield f'<text x="{x(most) + 6:.1f}" y="{middle + 4:.1f}">{value:,.6g}</text>'
        yield "</svg>"

    return "\n".join(parts()) + "\n"
