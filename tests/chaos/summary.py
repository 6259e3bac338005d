"""The outcomes of many rounds, as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from tests.chaos.judge import CAME_BACK, DOUBLED, LOST, OUT_OF_ORDER, STUCK
from tests.chaos.rounds import Outcome

COLUMNS = (LOST, DOUBLED, CAME_BACK, OUT_OF_ORDER, STUCK)


def lines(outcomes: Sequence[Outcome]) -> list[str]:
    """A row for each kind of kill and phase: how many hit a call under way or had a fault; redelivery."""
    header = ["killed", "amid", "kills", "mid-call", *COLUMNS, "other", "median", "longest"]
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.plan.kind.name, outcome.plan.phase), []).append(outcome)
    rows = [header, *([*group, *_cells(groups[group])] for group in sorted(groups)), ["all", "", *_cells(outcomes)]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cells(outcomes: Sequence[Outcome]) -> list[str]:
    faults = Counter(kind for outcome in outcomes for kind in {fault.kind for fault in outcome.faults})
    others = sum(count for kind, count in faults.items() if kind not in COLUMNS)
    times = [outcome.redelivery for outcome in outcomes if outcome.redelivery is not None]
    measured = [f"{median(times):.3f} s", f"{max(times):.3f} s"] if times else ["-", "-"]
    hit = sum(outcome.under_way > 0 for outcome in outcomes)
    return [str(len(outcomes)), str(hit), *(str(faults[kind]) for kind in COLUMNS), str(others), *measured]
