"""The end of the run: every cell of the table is there, and each saw the same checks."""

import pytest

from tests.lanes.table import Table

# With the browsers deselected most of the table is not there.
pytestmark = pytest.mark.browser


def test_every_lane_ran(table: Table) -> None:
    assert table.missing() == []


def test_every_lane_saw_the_same_checks(table: Table) -> None:
    names = {cell: [check["name"] for check in outcome.checks] for cell, outcome in table.cells.items()}
    expected = next(iter(names.values()))
    assert expected
    assert {cell: seen for cell, seen in names.items() if seen != expected} == {}


def test_every_cell_passed(table: Table) -> None:
    assert {cell: str(outcome) for cell, outcome in table.cells.items() if outcome.failures} == {}
