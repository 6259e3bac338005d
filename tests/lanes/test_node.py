"""The lane of Pyodide in Node."""

import pytest

from tests.lanes.in_pyodide import run_cell_in_pyodide
from tests.lanes.runtimes import PythonRuntime
from tests.lanes.table import PLAN, Table
from tools.serve import Server

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("backend", PLAN["Node"])
def test_node(backend: str, node: PythonRuntime, server: Server, table: Table) -> None:
    run_cell_in_pyodide(node, server, table, "Node", backend)


@pytest.mark.parametrize("location", ["inbox", "indexeddb://inbox"])
def test_no_indexeddb_in_node_is_a_clear_error(location: str, node: PythonRuntime) -> None:
    message = node.run_async(
        f"""
        from pymailbox import StorageUnavailableError, open_mailbox

        try:
            await open_mailbox("{location}")
        except StorageUnavailableError as error:
            message = str(error)
        else:
            message = "opened"
        message
        """
    )
    assert "IndexedDB" in message
