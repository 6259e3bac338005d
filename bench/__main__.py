"""Runs the benchmark: `python -m bench`, or `make bench`.

A row's competitors take turns, round by round, each time on a fresh store; each round begins with a different one. A
run replaces the rows that it measures in the results, so it may cover only some engines or cases.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from bench import charts, report, results, scaling
from bench.environments import Environment, environment_of
from bench.plan import BROWSERS, ENGINES, NOT_IN_QUICK, ON_SERVERS, OURS, SECONDS, Row, full_plan
from bench.queues import Job
from bench.results import Result
from bench.session import case_named
from tools.serve import ROOT

RESULTS = ROOT / "bench" / "results.json"
CHARTS = ROOT / "docs" / "performance"
QUICK_RESULTS = ROOT / "build" / "bench" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
SCALING_PAGE = ROOT / "docs" / "scaling.md"
PACKAGES = ROOT / "build" / ".bench-ready"
"""Installed together with those of the others."""

WAKE_UPS = 10
"""Messages in one round of the wake-up case."""

ROUNDS = 9
QUICK_ROUNDS = 3
QUICK_SECONDS = 0.12


def main() -> int:
    """Measures, prints the tables, and writes the results and the charts."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rows, few rounds; keeps its results in build/bench")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="only these")
    parser.add_argument("--case", action="append", help="only rows of this name or pattern")
    parser.add_argument("--batch", action="append", type=int, help="only batches of this size")
    parser.add_argument("--bytes", action="append", type=int, help="only payloads of this size")
    parser.add_argument("--durability", action="append", choices=("strict", "relaxed"), help="only these")
    parser.add_argument("--competitor", action="append", help="only these")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="how long a repeated case runs in each round")
    parser.add_argument("--results", type=Path, help="a file for the results, with the charts beside it")
    parser.add_argument("--report", action="store_true", help="only show tables and charts of the last run")
    arguments = parser.parse_args()
    without = arguments.report or set(arguments.engine or ENGINES) <= ON_SERVERS.keys()
    if not without and not PACKAGES.exists():
        parser.error("the packages to compare with are missing: `make bench` gets them")
    path: Path = arguments.results or (QUICK_RESULTS if arguments.quick else RESULTS)
    is_documented = path.resolve() == RESULTS
    folder = CHARTS if is_documented else path.parent
    rounds: int = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    seconds: float = arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS)

    measured = results.read(path)
    chosen = [_with_its_competitors(row, arguments) for row in full_plan() if _is_chosen(row, arguments)]
    if not chosen:
        engines = arguments.engine or ENGINES
        names = sorted({row.key[0] for row in full_plan() if row.engine in engines})
        parser.error(f"no row matches all of that; the rows are: {', '.join(names)}")
    if not arguments.report:
        start = time.monotonic()
        for engine in ENGINES:
            of_engine = [row for row in chosen if row.engine == engine]
            for row, result in _measured(engine, of_engine, rounds, seconds):
                measured[row.key] = result
                results.write(path, measured)
        print(f"measured in {time.monotonic() - start:.0f} s")

    shown = {row.key: measured[row.key] for row in chosen if row.key in measured}
    print("\n".join([*report.rows(shown), "", *report.targets(measured)]))
    drawn = charts.draw(measured, folder)
    print(f"{len(drawn)} charts are in {folder}")
    if is_documented:
        images = [f"![{title}]({chart.relative_to(PAGE.parent)})" for chart, title in drawn.items()]
        targets, figures = list(report.targets(measured)), list(report.markdown(measured))
        _fill_in(PAGE, {"targets": targets, "charts": images, "results": figures})
        _fill_in(SCALING_PAGE, scaling.tables(measured))
    return 0


def _is_chosen(row: Row, arguments: argparse.Namespace) -> bool:
    case, engine, payload_bytes, batch, durability = row.key
    return (
        (row.quick or not arguments.quick)
        and (arguments.engine is None or engine in arguments.engine)
        and (arguments.case is None or any(fnmatch(case, name) for name in arguments.case))
        and (arguments.batch is None or batch in arguments.batch)
        and (arguments.bytes is None or payload_bytes in arguments.bytes)
        and (arguments.durability is None or durability in arguments.durability)
    )


def _with_its_competitors(row: Row, arguments: argparse.Namespace) -> Row:
    without = NOT_IN_QUICK if arguments.quick and row.engine in BROWSERS else set()
    names = arguments.competitor or set(row.competitors) - without
    return dataclasses.replace(row, competitors=tuple(name for name in row.competitors if name in names))


class UnfinishedError(Exception):
    """A competitor could not do what a row asks for."""

    def __init__(self, competitor: str) -> None:
        super().__init__(competitor)
        self.competitor = competitor


def _measured(engine: str, rows: Iterable[Row], rounds: int, seconds: float) -> Iterator[tuple[Row, Result]]:
    left = deque(rows)
    while left:
        with environment_of(engine) as environment:
            print(f"{engine}: {environment.version()}", flush=True)
            while left:
                row = left[0]
                try:
                    result = _measure(environment, row, rounds, seconds)
                except UnfinishedError as unfinished:
                    name = unfinished.competitor
                    print(f"  {row.key}: {name} did not finish: {unfinished.__cause__!r}", flush=True)
                    others = tuple(other for other in row.competitors if other != name)
                    left[0] = dataclasses.replace(row, competitors=others, unfinished=(*row.unfinished, name))
                    break  # its browser may be gone
                left.popleft()
                yield row, result


def _measure(environment: Environment, row: Row, rounds: int, seconds: float) -> Result:
    job = dataclasses.replace(row.job, seconds=seconds) if row.job.seconds else row.job
    names = row.competitors
    figures: dict[str, list[float]] = {name: [] for name in names}
    start = time.monotonic()
    if row.keeps_store:
        for name in names:
            with _finishing(name):
                environment.prepare(name, job)
    for turn in range(min(rounds, row.most_rounds)):
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            with _finishing(name):
                figures[name].append(_once(environment, row, job, name))
    if row.keeps_store:
        for name in names:
            environment.finish(name)
    case, engine, payload_bytes, batch, durability = row.key
    print(f"  {case}, batch {batch}, {payload_bytes} bytes, {durability}: {time.monotonic() - start:.1f} s", flush=True)
    result: Result = {
        "case": case,
        "engine": engine,
        "payload_bytes": payload_bytes,
        "batch": batch,
        "durability": durability,
        "unit": case_named(job.case).UNIT,
        "results": {name: results.figures_of(values) for name, values in figures.items()},
    }
    if row.unfinished:
        result["unfinished"] = list(row.unfinished)
    return result


@contextlib.contextmanager
def _finishing(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if name == OURS:
            raise
        raise UnfinishedError(name) from error


def _once(environment: Environment, row: Row, job: Job, name: str) -> float:
    if job.case == "wake_up":
        return environment.wake_up(job, WAKE_UPS)
    if row.keeps_store:
        return environment.measure(name)
    environment.prepare(name, job)
    try:
        return environment.measure(name)
    finally:
        environment.finish(name)


def _fill_in(page: Path, tables: dict[str, list[str]]) -> None:
    """Puts tables between their marks in a page."""
    text = page.read_text(encoding="utf-8")
    for name, lines in tables.items():
        begin, end = f"<!-- {name}: made by make bench -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = "\n".join([before + begin, "", *lines, "", end + after])
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
