"""The lanes of Chromium, which pytest-pyodide drives: its own page and module worker, with Pyodide loaded."""

from typing import Any

import pytest

from tests.lanes.in_pyodide import install_wheel, run_cell_in_pyodide
from tests.lanes.runtimes import CALL_SECONDS
from tests.lanes.table import PLAN, Table
from tools.nats_servers import Servers
from tools.serve import Server

pytestmark = [pytest.mark.browser, pytest.mark.driver_timeout(CALL_SECONDS)]


@pytest.mark.parametrize("backend", PLAN["Chromium page"])
def test_chromium_page(backend: str, selenium: Any, server: Server, for_pages: Servers, table: Table) -> None:
    install_wheel(selenium, server)
    run_cell_in_pyodide(selenium, server, table, "Chromium page", backend, for_pages)


@pytest.mark.parametrize("backend", PLAN["Chromium worker"])
def test_chromium_worker(backend: str, selenium_worker: Any, server: Server, for_pages: Servers, table: Table) -> None:
    install_wheel(selenium_worker, server)
    run_cell_in_pyodide(selenium_worker, server, table, "Chromium worker", backend, for_pages)
