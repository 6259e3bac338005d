"""Prints the lines of the package that no test ran, as `make coverage` counted them on CPython and in pages.

Usage: python -m tools.coverage_report
"""

import json
from pathlib import Path

from coverage import Coverage, CoverageData

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "coverage"


def main() -> None:
    """Combine the counts, and print the report."""
    for number, page in enumerate(sorted(FOLDER.glob("pages/*.python.json"))):
        lines: dict[str, list[int]] = json.loads(page.read_text(encoding="utf-8"))
        data = CoverageData(str(FOLDER / f"python.page{number}"))
        data.add_lines(lines)
        data.write()
    coverage = Coverage(config_file=str(ROOT / "pyproject.toml"))
    coverage.combine(keep=True)
    coverage.report(show_missing=True, skip_covered=True)
    coverage.html_report(directory=str(FOLDER / "python-html"))


if __name__ == "__main__":
    main()
