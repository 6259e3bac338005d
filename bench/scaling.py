"""The tables of docs/scaling.md: what was measured on NATS servers, one column for each kind of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bench.plan import APART, BYTES, CLIENTS, DIRECT, ONE_SIDE, OURS, RELAY, RELAYS
from bench.targets import Results

COLUMNS = {
    "nats": "one server",
    "nats-always": "one, `always`",
    "nats-cluster": "three",
    "nats-cluster-always": "three, `always`",
    "nats-chromium": "one, from a page",
}
"""By engine."""


class Line(NamedTuple):
    """One row of such a table: a case's figures of one competitor."""

    text: str
    case: str
    batch: int
    competitor: str


ONE_CLIENT = (
    Line("a message's life, one at a time, messages/s", "whole_life", 1, OURS),
    Line("a message's life, 100 at a time, messages/s", "whole_life", 100, OURS),
    Line("the same by nats-py used directly", "whole_life", 100, DIRECT),
    Line("handed to a waiting `dequeue` of another handle, ms", "wake", 1, OURS),
    Line("opened and used, nothing waiting, ms", "first_use_at_0", 1, OURS),
    Line("opened and used, 100,000 waiting, ms", "first_use_at_100000", 1, OURS),
)

CONSUMERS = (
    Line("1 consumer", "consumers_1", 10, OURS),
    Line("4, in one process", "consumers_4", 10, OURS),
    Line("16, in one process", "consumers_16", 10, OURS),
    Line("4, each with a connection of its own", "consumers_4", 10, APART),
    Line("16, each with a connection of its own", "consumers_16", 10, APART),
    Line("1 consumer of nats-py used directly", "consumers_1", 10, DIRECT),
    Line("4", "consumers_4", 10, DIRECT),
    Line("16", "consumers_16", 10, DIRECT),
)

_INTO = ("into one mailbox", "into one each")

RELAYING = (
    Line("1 relay, messages/s", "relays_1", 100, RELAY),
    *(Line(f"1, {side}, messages/s", "relays_1", 100, side) for side in ONE_SIDE),
    *(
        Line(f"{count} relays {into}, messages/s", f"relays_{count}", 100, name)
        for count in (10, 100)
        for into, name in zip(_INTO, RELAYS, strict=True)
    ),
    Line("1 relay, servers' CPU for a message, µs", "relays_1_cpu", 100, RELAY),
    *(
        Line(f"{count} relays {into}, servers' CPU for a message, µs", f"relays_{count}_cpu", 100, name)
        for count in (10, 100)
        for into, name in zip(_INTO, RELAYS, strict=True)
    ),
    *(
        Line(f"{count} relay{'s'[: count > 1]} {into}, lag, {which}, ms", f"relays_{count}_{figure}", 1, name)
        for count in (1, 10, 100)
        for into, name in list(zip(_INTO, RELAYS, strict=True))[: 1 if count == 1 else 2]
        for which, figure in (("median", "lag"), ("99 of 100 below", "lag_99"))
    ),
)

CONNECTED = (
    *(
        Line(f"{name}, {what}", case, 1, name)
        for case, what in (
            ("server_memory", "memory, KiB"),
            ("idle_cpu", "CPU a second, µs"),
            ("idle_bytes", "sent a second, bytes"),
        )
        for name in CLIENTS
    ),
    Line("a visit: opened, one message relayed, closed, ms", "visits", 1, RELAY),
    Line("its CPU, µs", "visits_cpu", 1, RELAY),
)


def tables(results: Results) -> dict[str, list[str]]:
    """All of them in Markdown, by their marks in the page."""
    return {
        "one client": list(_table(ONE_CLIENT, results)),
        "consumers": list(_table(CONSUMERS, results)),
        "relays": list(_table(RELAYING, results)),
        "clients": list(_table(CONNECTED, results)),
    }


def _table(lines: Iterable[Line], results: Results) -> Iterator[str]:
    """Medians, without the rows and columns that were not measured."""
    measured = {line: {engine: _median(results, engine, line) for engine in COLUMNS} for line in lines}
    engines = [engine for engine in COLUMNS if any(figures[engine] is not None for figures in measured.values())]
    if not engines:
        yield "Not measured yet."
        return
    yield "| | " + " | ".join(COLUMNS[engine] for engine in engines) + " |"
    yield "|---" * (len(engines) + 1) + "|"
    for line, figures in measured.items():
        if any(figure is not None for figure in figures.values()):
            cells = ["" if (figure := figures[engine]) is None else f"{figure:,.6g}" for engine in engines]
            yield f"| {line.text} | " + " | ".join(cells) + " |"


def _median(results: Results, engine: str, line: Line) -> float | None:
    result = results.get((line.case, engine, BYTES, line.batch, "strict"))
    figures = result and result["results"].get(line.competitor)
    return figures["median"] if figures else None
