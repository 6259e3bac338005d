"""What the library has to reach: ratios within one run, with ours called from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.plan import (
    BY_HAND,
    BYTES,
    DIRECT,
    ENGINES,
    ON_CPYTHON,
    ON_SERVERS,
    ONE_SIDE,
    OURS,
    PUTS,
    RAW,
    RELAY,
    SYNC,
)
from bench.results import Key, Result

Results = dict[Key, Result]

TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Target:
    """One row of the table of targets."""

    text: str
    engine: str
    reached: Callable[[Results, str], float | None]
    """The figure of an engine; None if it was not measured."""
    least: float
    aim: float | None = None
    at_most: bool = False
    """Whether less is better."""
    unit: str = TIMES
    slack: float = 0.0
    """This many milliseconds more are fine too, whatever the ratio."""
    more: Callable[[Results, str], float | None] | None = None
    """The additional milliseconds."""

    def verdict(self, results: Results) -> str | None:
        """The result in a word or two; None if it was not measured."""
        reached = self.reached(results, self.engine)
        if reached is None:
            return None
        if self.at_most:
            more = self.more(results, self.engine) if self.more else None
            return "met" if reached <= self.least or (more is not None and more <= self.slack) else "missed"
        if self.aim is not None and reached >= self.aim:
            return "aim met"
        return "met" if reached >= self.least else "missed"


def _median(results: Results, case: str, engine: str, batch: int, name: str) -> float | None:
    result = results.get((case, engine, BYTES, batch, "strict"))
    figures = result and result["results"].get(name)
    return figures["median"] if figures else None


def against(case: str, batch: int, *others: str) -> Callable[[Results, str], float | None]:
    """Our rate divided by the best of the others."""

    def ratio(results: Results, engine: str) -> float | None:
        ours = _median(results, case, engine, batch, OURS)
        rates = [rate for name in others if (rate := _median(results, case, engine, batch, name)) is not None]
        return None if ours is None or not rates else ours / max(rates)

    return ratio


def _against_the_slower_side(results: Results, engine: str) -> float | None:
    relayed, *sides = (_median(results, "relays_1", engine, 100, name) for name in (RELAY, *ONE_SIDE))
    alone = [rate for rate in sides if rate is not None]
    return None if relayed is None or len(alone) < len(ONE_SIDE) else relayed / min(alone)


def _without_await(results: Results, engine: str) -> float | None:
    """The rate of ``pymailbox.sync`` divided by that of the awaited verbs."""
    awaited, without = (_median(results, "without_await", engine, 1, name) for name in (OURS, SYNC))
    return None if awaited is None or without is None else without / awaited


def growth(case: str, small: int, large: int, batch: int) -> Callable[[Results, str], float | None]:
    """Our time with much divided by that with little."""

    def ratio(results: Results, engine: str) -> float | None:
        before = _median(results, f"{case}_{small}", engine, batch, OURS)
        after = _median(results, f"{case}_{large}", engine, batch, OURS)
        return None if before is None or after is None else after / before

    return ratio


def addition(case: str, small: int, large: int, batch: int) -> Callable[[Results, str], float | None]:
    """How many milliseconds more much costs than little."""

    def difference(results: Results, engine: str) -> float | None:
        before = _median(results, f"{case}_{small}", engine, batch, OURS)
        after = _median(results, f"{case}_{large}", engine, batch, OURS)
        return None if before is None or after is None else after - before

    return difference


def _figure(case: str, batch: int) -> Callable[[Results, str], float | None]:
    return lambda results, engine: _median(results, case, engine, batch, OURS)


def _in_browsers() -> list[Target]:
    # text, what was reached, Chromium at least and aim for, Firefox at least
    many: list[tuple[str, Callable[[Results, str], float | None], float, float | None, float]] = [
        ("whole life, batch 100, against raw IndexedDB", against("whole_life", 100, RAW), 11, 15, 18),
        ("whole life, batch 100, against Dexie", against("whole_life", 100, "dexie"), 8, 11, 8),
        ("whole life, batch 10, against raw IndexedDB", against("whole_life", 10, RAW), 2.8, 4, 2.8),
        ("whole life, batch 1, against raw IndexedDB", against("whole_life", 1, RAW), 1.0, 1.2, 0.95),
        ("two handles, batch 100, against raw IndexedDB", against("whole_life_two_handles", 100, RAW), 6, None, 8),
        ("two handles, batch 1, against raw IndexedDB", against("whole_life_two_handles", 1, RAW), 1.0, 1.2, 0.9),
        ("`enqueue_many` of 1,000 against 100 puts a transaction", against("enqueue_many", 1000, PUTS), 3.5, 5, 7),
        ("32 producers against one put a transaction, 32 in flight", against("producers", 32, PUTS), 7, 10, 8.5),
        ("one awaited enqueue against one awaited put", against("enqueue", 1, PUTS), 0.78, 0.9, 0.75),
        ("whole life, batch 100, against persist-queue", against("whole_life", 100, "persist-queue"), 100, None, 50),
    ]
    times = [
        ("dequeue of 32 at a backlog of 100k against 1k", "dequeue_at", 1_000, 100_000, 32, 1.3, 0.3),
        ("status at a backlog of 100k against 1k", "status_at", 1_000, 100_000, 32, 1.3, 0.3),
        ("recovery of 10k inflight against 10", "recovery_of", 10, 10_000, 1, 1.5, 1.0),
    ]
    targets = [
        target
        for text, reached, chromium, aim, firefox in many
        for target in (
            Target(text, "chromium", reached, chromium, aim),
            Target(text, "firefox", reached, firefox),
        )
    ]
    for text, case, small, large, batch, ratio, slack in times:
        reached, more = growth(case, small, large, batch), addition(case, small, large, batch)
        targets += [
            Target(text, engine, reached, ratio, at_most=True, slack=slack, more=more)
            for engine in ("chromium", "firefox")
        ]
    woken = "a message of another tab is handed to a waiting `dequeue`"
    targets += [
        Target(woken, engine, _figure("wake_up", 1), limit, at_most=True, unit=" ms")
        for engine, limit in (("chromium", 10.0), ("firefox", 15.0))
    ]
    return targets


def _consumers() -> list[Target]:
    figures = [
        (f"`consume` at {waiting:,} waiting, against `dequeue` and `ack`", against("consume", waiting, BY_HAND), 1.5)
        for waiting in (1, 10, 1000)
    ]
    others = [
        ("a `HIGH` message among handlers of 100 ms begins", "urgent", 110.0, " ms"),
        ("others that begin before it", "overtaking", 0.0, ""),
        ("the busier one of two consumers of 16 slow messages", "sharing", 10.0, ""),
    ]
    engines = [engine for engine in ENGINES if engine != "chromium-sqlite" and engine not in ON_SERVERS]
    # in memory a call costs next to nothing, so there is none to be saved
    saving = [engine for engine in engines if engine != "memory"]
    targets = [Target(text, engine, reached, least) for text, reached, least in figures for engine in saving]
    for text, case, most, unit in others:
        targets += [Target(text, engine, _figure(case, 1), most, at_most=True, unit=unit) for engine in engines]
    return targets


def _on_servers() -> Iterator[Target]:
    # engine, at batch 1 at least and aim for, at batch 100 the same
    ratios: list[tuple[str, float, float | None, float, float | None]] = [
        ("nats", 0.8, 1.0, 2.0, 4.0),
        ("nats-cluster", 1.0, 1.3, 2.5, 4.0),
        ("nats-always", 0.8, None, 10.0, None),
        ("nats-cluster-always", 0.8, None, 3.0, None),
        ("nats-chromium", 0.6, 0.8, 2.5, 4.0),
    ]
    for engine, least, aim, least_of_100, aim_of_100 in ratios:
        for batch, limit, wish in ((1, least, aim), (100, least_of_100, aim_of_100)):
            text = f"whole life, batch {batch}, against nats-py used directly"
            yield Target(text, engine, against("whole_life", batch, DIRECT), limit, wish)
    for backlog, most in ((0, 50.0), (100_000, 1000.0)):
        text = f"opened and used, with {backlog:,} waiting"
        yield Target(text, "nats", _figure(f"first_use_at_{backlog}", 1), most, at_most=True, unit=" ms")
    woken = "a message is handed to a waiting `dequeue` of another handle"
    for engine in ("nats", "nats-cluster"):
        yield Target(woken, engine, _figure("wake", 1), 10.0, at_most=True, unit=" ms")
    relayed = "one relay, batch 100, against the slower of its sides alone"
    for engine in ("nats-chromium", "nats", "nats-cluster"):
        yield Target(relayed, engine, _against_the_slower_side, 0.5)


_others = tuple(name for name in ON_CPYTHON if name != OURS)
_that_acknowledge = ("persist-queue", "litequeue")

TARGETS = [
    *_in_browsers(),
    *_consumers(),
    Target(
        "whole life, batch 1, against the best other that acknowledges",
        "cpython",
        against("whole_life", 1, *_that_acknowledge),
        0.95,
        1.1,
    ),
    Target("whole life, batch 100, against the best other", "cpython", against("whole_life", 100, *_others), 3.0),
    Target("whole life, batch 1, `pymailbox.sync` against awaited verbs", "cpython", _without_await, 0.7),
    *_on_servers(),
]
