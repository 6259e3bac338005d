"""Writes the table of docs/languages.md from the public names of both languages.

Usage: python -m tools.languages_page
"""

from __future__ import annotations

import sys
from itertools import groupby

from tools.generated import rewrite, table
from tools.public_api import javascript, python
from tools.public_api.languages import UnpairedError, rows
from tools.public_api.pairs import PAIRS

PAGE = "languages.md"
TOOL = "languages_page.py"


def text() -> str:
    """The text between the page's marks."""
    cells = []
    found = rows(python.public_names("pymailbox"), javascript.public_names(), PAIRS)
    for group, of_group in groupby(found, key=lambda row: row.group):
        cells.append((f"**{group}**", "", ""))
        cells += [(row.python, row.javascript, row.note) for row in of_group]
    return "\n".join(["", *table(("Python", "JavaScript", "what differs"), cells), "", ""])


def main() -> None:
    try:
        rewrite(PAGE, TOOL, text())
    except UnpairedError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
