"""Writes the tables of docs/conformance.md from the checks of pymailbox.testing and the plan of the test lanes.

Usage: python -m tools.conformance_page
"""

from __future__ import annotations

import inspect
import sys
from itertools import groupby

from pymailbox import Capability, IndexedDbMailbox, JetStreamMailbox, Mailbox, MemoryMailbox, SqliteMailbox
from pymailbox.testing.checks import CHECKS
from tests.lanes.table import COLUMNS, PLAN
from tools.generated import rewrite, table

PAGE = "conformance.md"
TOOL = "conformance_page.py"

BACKENDS: dict[str, type[Mailbox]] = {
    "memory": MemoryMailbox,
    "sqlite": SqliteMailbox,
    "indexeddb": IndexedDbMailbox,
    "jetstream": JetStreamMailbox,
}


def text() -> str:
    """The text between the page's marks."""
    lines = ["\n## Where they run\n"]
    lines += table(
        ("runtime", *COLUMNS),
        (
            (runtime, *("all checks" if backend in backends else "–" for backend in COLUMNS))  # noqa: RUF001
            for runtime, backends in PLAN.items()
        ),
    )
    lines.append("\n## Capabilities\n")
    lines += table(
        ("capability", "checks that need it", *BACKENDS),
        (
            (
                f"`{capability}`",
                str(sum(capability in check.requires for check in CHECKS)),
                *("yes" if capability in backend.capabilities else "no" for backend in BACKENDS.values()),
            )
            for capability in Capability
        ),
    )
    for subject, checks in groupby(CHECKS, key=lambda check: check.name.partition(".")[0]):
        of_subject = list(checks)
        module = inspect.getdoc(sys.modules[of_subject[0].run.__module__]) or ""
        lines += [f"\n## {subject}\n", _markdown(module.partition("\n\n")[0].replace("\n", " ")), ""]
        lines += table(
            ("promise", "check", "needs"),
            (
                (
                    _markdown(check.promise),
                    f"`{check.name}`",
                    ", ".join(f"`{need}`" for need in check.needs),
                )
                for check in of_subject
            ),
        )
    return "\n".join(lines) + "\n\n"


def _markdown(docstring: str) -> str:
    return docstring.replace("``", "`")


def main() -> None:
    rewrite(PAGE, TOOL, text())


if __name__ == "__main__":
    main()
