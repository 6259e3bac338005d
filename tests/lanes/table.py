"""The table that the lanes fill in: which backend has to pass on which runtime, and what came out."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import pytest

EVERYWHERE = ("memory", "sqlite")
IN_BROWSERS = (*EVERYWHERE, "indexeddb")
JAVASCRIPT = ("javascript", "mixed")
"""Other ways to IndexedDB: the JavaScript API, and handles of both languages by turns on the same mailboxes."""
ON_SERVERS = ("jetstream", "jetstream-3")
"""On one NATS server, and on three."""
COLUMNS = (*IN_BROWSERS, *JAVASCRIPT, *ON_SERVERS)

PLAN: Mapping[str, tuple[str, ...]] = {
    "CPython": (*EVERYWHERE, *ON_SERVERS),
    "CPython eager": EVERYWHERE,
    "CPython uvloop": EVERYWHERE,
    "Chromium page": (*IN_BROWSERS, "javascript", "jetstream"),
    "Chromium worker": (*IN_BROWSERS, "jetstream"),
    "Firefox page": (*IN_BROWSERS, "jetstream"),
    "Firefox worker": ("indexeddb", "mixed"),
    "WebKit page": IN_BROWSERS,
    "WebKit worker": ("indexeddb",),
    "Node": EVERYWHERE,
}
"""The backends that each runtime is expected to have. Where tasks are eager they begin when they are made.

Memory and SQLite use nothing of a browser but its WebAssembly, which its pages and its workers share.
"""


class Programs(NamedTuple):
    """How many random programs a cell runs."""

    cpython: int
    indexeddb: int
    jetstream: int
    """On one server; half as many on three, which differ in nothing that a program sees."""
    elsewhere: int
    """On the other backends in Pyodide: they run on CPython too, or cross the border several times a call."""

    def in_pyodide(self, runtime: str, backend: str) -> range:
        """The seeds of a cell there. No two runtimes have the same, so that many more are run in all."""
        count = self.indexeddb if backend == "indexeddb" else self.elsewhere
        first = count * list(PLAN).index(runtime)
        return range(first, first + count)

    def on_cpython(self, backend: str) -> int:
        """How many a backend has there."""
        return {"jetstream": self.jetstream, "jetstream-3": self.jetstream // 2}.get(backend, self.cpython)


PROGRAMS = Programs(cpython=200, indexeddb=20, jetstream=20, elsewhere=8)
FEW_PROGRAMS = Programs(cpython=20, indexeddb=3, jetstream=3, elsewhere=3)
"""For daily work, with the option ``--few-programs``."""

CELL_SECONDS = 600
"""When a cell counts as hanging; it takes a small part of that."""


@dataclass(frozen=True)
class Cell:
    """What came out of one backend on one runtime."""

    checks: list[dict[str, Any]]
    programs: list[dict[str, Any]]
    running: str | None
    """What was running last, if that did not come to an end."""

    @property
    def failures(self) -> list[str]:
        """One text for each thing that did not pass; these backends promise everything, so unsupported is a failure."""
        return (
            [
                f"check {check['name']}: {check['outcome']} after {check['seconds']:.2f} s\n{check['detail']}"
                for check in self.checks
                if check["outcome"] != "passed"
            ]
            + [
                f"random program with seed {program['seed']}: failed\n{program['failure']}"
                for program in self.programs
                if program["failure"] is not None
            ]
            + ([f"{self.running} did not come to an end"] if self.running else [])
        )

    def __str__(self) -> str:
        checks = sum(check["outcome"] == "passed" for check in self.checks)
        programs = sum(program["failure"] is None for program in self.programs)
        text = f"{checks}/{len(self.checks)} + {programs}/{len(self.programs)}"
        return f"{text} FAILED" if self.failures else text


@dataclass
class Table:
    """The cells of one run of the tests."""

    programs: Programs = PROGRAMS
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)

    def enter(self, runtime: str, backend: str, cell: Cell) -> None:
        """Enter a cell, and fail the test if something in it failed."""
        self.cells[runtime, backend] = cell
        if cell.failures:
            pytest.fail("\n\n".join([f"{backend} on {runtime}: {cell}", *cell.failures]), pytrace=False)

    def dump(self) -> str:
        """All cells, for `load`."""
        return json.dumps([[runtime, backend, asdict(cell)] for (runtime, backend), cell in self.cells.items()])

    def load(self, text: str) -> None:
        """Enter the cells of an earlier run, whatever came out of them."""
        self.cells |= {(runtime, backend): Cell(**cell) for runtime, backend, cell in json.loads(text)}

    def missing(self) -> list[str]:
        """The cells that were planned and did not come to an end."""
        return [
            f"{backend} on {runtime}"
            for runtime, backends in PLAN.items()
            for backend in backends
            if (runtime, backend) not in self.cells
        ]

    def lines(self) -> Iterator[str]:
        """The table as text: checks passed of all, plus random programs passed of all."""
        yield "".join(text.ljust(18) for text in ("", *COLUMNS)).rstrip()
        for runtime, backends in PLAN.items():
            texts = [
                str(self.cells.get((runtime, backend), "not run")) if backend in backends else "-"
                for backend in COLUMNS
            ]
            yield "".join(text.ljust(18) for text in (runtime, *texts)).rstrip()
