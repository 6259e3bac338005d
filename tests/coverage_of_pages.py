"""Which lines of both languages run in a page, for `make coverage`, which sets PYMAILBOX_COVERAGE to a folder.

There each page leaves a file: *.python.json has the lines of each file of the installed package, *.js.json is what
Chromium's profiler says.
"""

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path

from tests.lanes.runtimes import HarnessTab, WebDriverHarness

_FOLDER = os.environ.get("PYMAILBOX_COVERAGE")


def is_measured(place: str) -> bool:
    """Whether lines are counted in "BROWSER PLACE": in one browser, since the engine is the same in all."""
    return _FOLDER is not None and place == "chromium page"


def begin(page: HarnessTab, url: str, install: Callable[[], None]) -> None:
    """Reload the page, and count from its first line on; coverage must find the package installed."""
    assert isinstance(page, WebDriverHarness)
    page.devtools("Profiler.enable")
    page.devtools("Profiler.startPreciseCoverage", callCount=True, detailed=True)
    page.load(url)
    install()
    page.run_async(
        """
        import micropip
        await micropip.install("coverage")
        import coverage
        measuring = coverage.Coverage(data_file=None, config_file=False, source_pkgs=["pymailbox"])
        measuring.start()
        """
    )


def end(page: HarnessTab) -> None:
    """Keep what was counted."""
    assert isinstance(page, WebDriverHarness)
    assert _FOLDER is not None
    lines = page.run_async(
        """
        import json
        measuring.stop()
        found = measuring.get_data()
        json.dumps({file: found.lines(file) for file in found.measured_files()})
        """
    )
    scripts = page.devtools("Profiler.takePreciseCoverage")["result"]
    name = Path(_FOLDER) / "pages" / uuid.uuid4().hex
    name.parent.mkdir(parents=True, exist_ok=True)
    name.with_suffix(".python.json").write_text(lines)
    name.with_suffix(".js.json").write_text(json.dumps(scripts))
