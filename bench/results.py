"""The figures of a run, as `results.json` stores them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import NotRequired, TypedDict

from bench.queues import Durability


class Figures(TypedDict):
    """What one competitor reached in one row."""

    median: float
    min: float
    max: float


class Result(TypedDict):
    """One row."""

    case: str
    engine: str
    payload_bytes: int
    batch: int
    durability: Durability
    unit: str
    results: dict[str, Figures]
    unfinished: NotRequired[list[str]]
    """Those that could not do it: the tab crashed, or an error or the time limit ended it."""


Key = tuple[str, str, int, int, Durability]


def figures_of(measured: Iterable[float]) -> Figures:
    values = sorted(measured)
    return {"median": _rounded(median(values)), "min": _rounded(values[0]), "max": _rounded(values[-1])}


def key_of(result: Result) -> Key:
    return (result["case"], result["engine"], result["payload_bytes"], result["batch"], result["durability"])


def read(path: Path) -> dict[Key, Result]:
    """The results in a file; empty if there is none."""
    if not path.exists():
        return {}
    found: list[Result] = json.loads(path.read_text(encoding="utf-8"))
    return {key_of(result): result for result in found}


def write(path: Path, results: dict[Key, Result]) -> None:
    lines = ",\n".join(json.dumps(result) for result in results.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _rounded(value: float) -> float:
    """Four digits: more would be noise."""
    return float(f"{value:.4g}")
