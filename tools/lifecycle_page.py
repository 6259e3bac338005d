"""Writes the tables and the picture of docs/message-lifecycle.md from pymailbox/testing/lifecycle.py.

Usage: python -m tools.lifecycle_page
"""

from __future__ import annotations

from pymailbox.testing.lifecycle import BEYOND_PROGRAMS, COUNTED, MADE_BY, MEANING, TRANSITIONS, Event, State
from tools.generated import rewrite, table

PAGE = "message-lifecycle.md"
TOOL = "lifecycle_page.py"


def text() -> str:
    """The text between the page's marks."""
    parts = [
        "\n## The states\n",
        *table(("state", "the message", "counted in `status()` as"), map(_state, State)),
        "\n## The picture\n",
        "`import_` and damage done by other programs are left out.\n",
        *_picture(),
        "\n## The transitions\n",
        *table(
            (
                "event",
                "from",
                "to",
                "who can make it happen",
                "when",
                "`delivery_count`",
                "failures",
                "suspect",
                "observer",
            ),
            (
                (
                    row.event,
                    row.before,
                    row.after,
                    row.who,
                    row.when,
                    row.deliveries.value,
                    row.failures.value,
                    row.suspect.value,
                    "told" if row.observed else "",
                )
                for row in TRANSITIONS
            ),
        ),
        "\n## The events\n",
        *table(("event", "what makes it"), ((event, MADE_BY[event]) for event in Event)),
    ]
    return "\n".join(parts) + "\n\n"


def _state(state: State) -> tuple[str, str, str]:
    field = COUNTED[state]
    return state, MEANING[state], "" if field is None else f"`{field}`"


def _picture() -> list[str]:
    """A Mermaid diagram, which GitHub draws in the reader's colours: one arrow for each pair of states."""
    arrows: dict[tuple[State, State], list[Event]] = {}
    for row in TRANSITIONS:
        if row.event not in BEYOND_PROGRAMS:
            arrows.setdefault((row.before, row.after), []).append(row.event)
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR"]
    for (before, after), events in arrows.items():
        ends = ("[*]" if state is State.ABSENT else state.value for state in (before, after))
        lines.append(f"    {' --> '.join(ends)} : {', '.join(dict.fromkeys(events))}")
    return [*lines, "```"]


def main() -> None:
    rewrite(PAGE, TOOL, text())


if __name__ == "__main__":
    main()
