"""The lanes of CPython: as it comes, with tasks that begin at once, and on uvloop."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.lanes import cell
from tests.lanes.cell import Run
from tests.lanes.table import CELL_SECONDS, PLAN, Cell, Table
from tools.serve import ROOT

EAGER_PYTHON = "PYMAILBOX_EAGER_PYTHON"


@pytest.mark.parametrize("backend", PLAN["CPython"])
async def test_cpython(backend: str, table: Table, tmp_path: Path) -> None:
    run = Run(backend, str(tmp_path), table.programs.cpython)
    await run.finish()
    table.enter("CPython", backend, Cell(**json.loads(run.report())))


@pytest.mark.slow
@pytest.mark.parametrize("backend", PLAN["CPython eager"])
def test_cpython_eager(backend: str, table: Table, tmp_path: Path) -> None:
    _run_apart(newer_python(), "eager", backend, table, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("backend", PLAN["CPython uvloop"])
def test_cpython_uvloop(backend: str, table: Table, tmp_path: Path) -> None:
    _run_apart(sys.executable, "uvloop", backend, table, tmp_path)


def _run_apart(python: str, loop: str, backend: str, table: Table, directory: Path) -> None:
    """Run a cell in a process of its own, with few random programs: what they find the other lane finds as well."""
    programs = str(table.programs.elsewhere)
    command = [python, cell.__file__, backend, str(directory), programs, loop, str(CELL_SECONDS)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=CELL_SECONDS + 60)
    if ended.returncode:
        pytest.fail(f"{backend} on CPython {loop} ended with {ended.returncode}\n{ended.stderr}", pytrace=False)
    table.enter(f"CPython {loop}", backend, Cell(**json.loads(ended.stdout)))


@cache
def newer_python() -> str:
    """A Python that has eager tasks: this one, or one that is installed beside it."""
    for python in _pythons():
        try:
            check = "import asyncio, sqlite3; asyncio.eager_task_factory"
            if subprocess.run([python, "-c", check], capture_output=True, timeout=60).returncode == 0:
                return python
        except OSError:
            continue
    pytest.fail(
        f"eager tasks need a Python 3.12 or later with sqlite3; install one, or name it in {EAGER_PYTHON}",
        pytrace=False,
    )


def _pythons() -> Iterator[str]:
    if EAGER_PYTHON in os.environ:
        yield os.environ[EAGER_PYTHON]
        return
    yield sys.executable
    versions = [f"3.{minor}" for minor in range(15, 11, -1)]
    for version in versions:
        if found := shutil.which(f"python{version}"):
            yield found
    for version in versions:
        yield from map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
