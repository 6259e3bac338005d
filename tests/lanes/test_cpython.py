"""The lane of CPython."""

import json
from pathlib import Path

import pytest

from tests.lanes.cell import Run
from tests.lanes.table import PLAN, Cell, Table


@pytest.mark.parametrize("backend", PLAN["CPython"])
async def test_cpython(backend: str, table: Table, tmp_path: Path) -> None:
    run = Run(backend, str(tmp_path), table.programs.cpython)
    await run.finish()
    table.enter("CPython", backend, Cell(**json.loads(run.report())))
