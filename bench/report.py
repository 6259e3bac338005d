"""Results for readers: a table on the terminal, and tables in Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Iterator

from bench.plan import OURS
from bench.results import Figures, Result
from bench.targets import TARGETS, TIMES, Results


def rows(results: Results) -> Iterator[str]:
    """All rows as text, ours first, with how many times better it is than each other."""
    for result in results.values():
        yield ""
        yield title(result)
        ours = result["results"].get(OURS)
        for name, figures in sorted(result["results"].items(), key=lambda item: item[0] != OURS):
            spread = f"{figures['min']:>10,.6g} … {figures['max']:<10,.6g}"
            middle = f"{figures['median']:>10,.6g} {result['unit']:<11}"
            yield f"  {name:<16} {middle} {spread} {_times(result, ours, figures)}"
        for name in result.get("unfinished", ()):
            yield f"  {name:<16} did not finish"


def title(result: Result) -> str:
    """What was measured."""
    return (
        f"{result['case']}, batch {result['batch']}, {result['payload_bytes']:,} bytes, {result['durability']}, "
        f"{result['engine']}"
    )


def advantage(result: Result, ours: Figures, theirs: Figures) -> float:
    """How many times better ours is."""
    if result["unit"].endswith("/s"):
        return ours["median"] / theirs["median"]
    return theirs["median"] / ours["median"]


def targets(results: Results) -> Iterator[str]:
    """The table of targets in Markdown, without those that were not measured."""
    yield "| case, 1 KiB, strict | engine | reached | at least | aim for | |"
    yield "|---|---|---|---|---|---|"
    for target in TARGETS:
        verdict = target.verdict(results)
        if verdict is None:
            continue
        reached = f"{target.reached(results, target.engine):.3g}{target.unit}"
        if target.more is not None:
            reached += f", {target.more(results, target.engine):+.2g} ms"
        least = f"{'at most ' if target.at_most else ''}{target.least:g}{target.unit}"
        least += f", or {target.slack:g} ms more" if target.slack else ""
        aim = "" if target.aim is None else f"{target.aim:g}{target.unit}"
        yield f"| {target.text} | {target.engine} | {reached} | {least} | {aim} | {verdict} |"


def markdown(results: Results) -> Iterator[str]:
    """All rows as one table in Markdown, median and spread."""
    yield "| case | engine | bytes | batch | durability | unit | " + OURS + " | others |"
    yield "|---|---|---|---|---|---|---|---|"
    for result in results.values():
        ours = result["results"].get(OURS)
        others = [f"{name} {_cell(figures)}" for name, figures in result["results"].items() if name != OURS]
        others += [f"{name} did not finish" for name in result.get("unfinished", ())]
        cells = [result["case"], result["engine"], result["payload_bytes"], result["batch"], result["durability"]]
        cells += [result["unit"], _cell(ours) if ours else "", "; ".join(others)]
        yield "| " + " | ".join(str(cell) for cell in cells) + " |"


def _cell(figures: Figures) -> str:
    return f"{figures['median']:,.6g} ({figures['min']:,.6g} to {figures['max']:,.6g})"


def _times(result: Result, ours: Figures | None, figures: Figures) -> str:
    if ours is None or figures is ours or not ours["median"] or not figures["median"]:
        return ""
    return f"ours {advantage(result, ours, figures):.3g}{TIMES}"
