"""The built wheel in a Pyodide, and cells of the table there."""

import json
import time

import pytest

from tests.lanes.cell import ON_SERVERS
from tests.lanes.runtimes import PythonRuntime
from tests.lanes.table import CELL_SECONDS, Cell, Table
from tools.build_wheel import wheel_name
from tools.nats_servers import Servers
from tools.serve import Server


def install_wheel(python: PythonRuntime, server: Server, name: str | None = None) -> None:
    """Install the whole wheel that was built, or another that is served beside it."""
    _load(python, f"{server.url}/wheels/{name or wheel_name()}")


def install_nats(python: PythonRuntime) -> None:
    """Install the client of NATS servers, which is beside Pyodide."""
    _load(python, "nats-py")


def _load(python: PythonRuntime, package: str) -> None:
    """Without micropip, which would take a tenth of the time in which Python loads."""
    python.run_async(
        f"""
        import pyodide_js

        errors = []
        await pyodide_js.loadPackage("{package}", messageCallback=lambda _: None, errorCallback=errors.append)
        if errors:
            raise RuntimeError("; ".join(errors))
        """
    )


def run_cell_in_pyodide(
    python: PythonRuntime, server: Server, table: Table, runtime: str, backend: str, servers: Servers | None = None
) -> None:
    """Run a cell in `python`, where the wheel is installed, and enter it into the table.

    `servers` are where a backend on servers has its mailboxes.

    It runs in the background there and is asked how far it is, so that what hangs or crashes Pyodide has a name.
    """
    place = "/tmp"
    if backend in ON_SERVERS:
        assert servers is not None
        place = servers.websockets
        install_nats(python)
    python.run_async(
        f"""
        from pathlib import Path
        from pyodide.http import pyfetch

        for name in ("cell.py", "javascript_mailbox.py"):
            Path(name).write_text(await (await pyfetch(f"{server.url}/tests/lanes/{{name}}")).string())
        import cell

        run = cell.Run("{backend}", "{place}", {table.programs.in_pyodide(runtime, backend)})
        run.start()
        """
    )
    deadline = time.monotonic() + CELL_SECONDS
    cell = Cell([], [], running="nothing yet")
    while cell.running and time.monotonic() < deadline:
        try:
            cell = Cell(**json.loads(python.run_async("await run.report_within(1)")))
        except Exception as error:
            table.cells[runtime, backend] = cell
            pytest.fail(f"{backend} on {runtime} died in or after {cell.running}\n{error}", pytrace=False)
    table.enter(runtime, backend, cell)
