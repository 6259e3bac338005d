"""The lanes of CPython: as it comes, with tasks that begin at once, and on uvloop."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lanes import cell
from tests.lanes.cell import ON_SERVERS, Run
from tests.lanes.table import CELL_SECONDS, PLAN, Cell, Table
from tools.nats_servers import Servers
from tools.serve import ROOT


@pytest.fixture
def where(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """What a backend works on: a folder, or servers."""
    if backend not in ON_SERVERS:
        return str(tmp_path)
    servers: Servers = request.getfixturevalue("one" if ON_SERVERS[backend] == 1 else "three")
    return servers.addresses


@pytest.mark.parametrize(
    "backend",
    [pytest.param(backend, marks=pytest.mark.slow if backend in ON_SERVERS else ()) for backend in PLAN["CPython"]],
)
async def test_cpython(backend: str, table: Table, where: str) -> None:
    run = Run(backend, where, range(table.programs.on_cpython(backend)))
    await run.finish()
    table.enter("CPython", backend, Cell(**json.loads(run.report())))


@pytest.mark.slow
@pytest.mark.parametrize("backend", PLAN["CPython eager"])
def test_cpython_eager(backend: str, table: Table, tmp_path: Path) -> None:
    _run_apart("eager", backend, table, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("backend", PLAN["CPython uvloop"])
def test_cpython_uvloop(backend: str, table: Table, tmp_path: Path) -> None:
    _run_apart("uvloop", backend, table, tmp_path)


def _run_apart(loop: str, backend: str, table: Table, directory: Path) -> None:
    """Run a cell in a process of its own, with few random programs: what they find the other lane finds as well."""
    programs = str(table.programs.elsewhere)
    command = [sys.executable, cell.__file__, backend, str(directory), programs, loop, str(CELL_SECONDS)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=CELL_SECONDS + 60)
    if ended.returncode:
        pytest.fail(f"{backend} on CPython {loop} ended with {ended.returncode}\n{ended.stderr}", pytrace=False)
    table.enter(f"CPython {loop}", backend, Cell(**json.loads(ended.stdout)))
