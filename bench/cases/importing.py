"""The package is imported, with none of its modules loaded; milliseconds.

In Pyodide nothing is compiled either, as on a fresh page; on CPython compiled files are kept.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import cache_from_source
from pathlib import Path
from time import perf_counter

from bench.cases.common import TIME
from bench.queues import Competitor, Job, Queue

UNIT = TIME


async def measure(_queues: list[Queue], _job: Job, competitor: Competitor) -> float:
    package = competitor.PACKAGE
    loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == package}
    for name, module in loaded.items():
        if sys.platform == "emscripten" and module.__file__ is not None:
            _forget_compiled(module.__file__)
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        start = perf_counter()
        importlib.import_module(package)
        return (perf_counter() - start) * 1000
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
        sys.modules.update(loaded)


def _forget_compiled(source: str) -> None:
    Path(cache_from_source(source)).unlink(missing_ok=True)
