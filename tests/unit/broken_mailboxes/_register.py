"""The list of broken mailboxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tests.unit.example_mailboxes import SmallMailbox

Broken = TypeVar("Broken", bound=type[SmallMailbox])

BROKEN: dict[type[SmallMailbox], tuple[str, ...]] = {}
"""Each broken mailbox, with the names of the checks that must fail for it."""

FOUND_BY_PROGRAMS: list[type[SmallMailbox]] = []
"""Those whose bug random programs must find too."""


def breaks(*names: str, found_by_programs: bool = False) -> Callable[[Broken], Broken]:
    """Registers a broken mailbox with the names of the checks that must find its bug."""

    def register(broken: Broken) -> Broken:
        BROKEN[broken] = names
        if found_by_programs:
            FOUND_BY_PROGRAMS.append(broken)
        return broken

    return register
