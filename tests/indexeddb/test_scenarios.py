"""The scenarios, in every browser."""

import ast

import pytest

from tests.indexeddb.conftest import SCENARIOS
from tests.lanes.runtimes import PythonRuntime

pytestmark = pytest.mark.browser


PAGES = ("chromium page", "firefox page", "webkit page")
WORKERS = ("chromium worker",)
IN_WORKERS_TOO = ("changes", "connection", "leaving", "lives", "relaying", "reports", "waking")
"""What could differ in a worker; the engine is the same there."""


def _scenarios() -> list[tuple[str, str]]:
    return [
        (place, f"{path.stem}.{definition.name}")
        for place in (*PAGES, *WORKERS)
        for path in sorted(SCENARIOS.glob("*.py"))
        for definition in ast.parse(path.read_text("utf-8")).body
        if isinstance(definition, ast.AsyncFunctionDef) and definition.name.startswith("check_")
        if place in PAGES or path.stem in IN_WORKERS_TOO
    ]


@pytest.mark.parametrize(("python", "scenario"), _scenarios(), indirect=["python"])
def test_scenario(scenario: str, python: PythonRuntime) -> None:
    python.run_async(f"await support.run({scenario!r})")
