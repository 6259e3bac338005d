"""``docs/reference.md`` has every public name as the code has it, and no broken links."""

from __future__ import annotations

import re
from typing import Final

from tools import reference_page
from tools.generated import DOCS, generated_part
from tools.public_api import javascript, python
from tools.public_api.docstrings import markdown
from tools.public_api.reference_of_javascript import headings_of
from tools.reference_page import MODULES, anchor

PAGE: Final = (DOCS / reference_page.PAGE).read_text("utf-8")
HEADINGS: Final = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)


def test_the_page_says_what_the_code_has() -> None:
    page = generated_part(reference_page.PAGE, reference_page.TOOL)
    assert page == reference_page.text(), "run: make generated"


def test_every_public_name_is_documented() -> None:
    names = [(module, name) for module in MODULES for name in python.public_names(module)]
    assert [f"{module}.{name.name}" for module, name in names if not name.doc] == []
    headings = [f"`{module}.{name.name}`".replace("`pymailbox.", "`") for module, name in names]
    assert [heading for heading in headings if heading not in HEADINGS] == []


def test_every_name_of_javascripts_is_documented() -> None:
    names = javascript.public_names()
    assert [name.name for name in names if not name.told.doc] == []
    fields = [(name, member) for name in names if name.kind != "constant" for member in name.members]
    assert [f"{name}.{member.name}" for name, member in fields if not (member.told.doc and member.shown)] == []
    headings = [heading for name in names for heading in headings_of(name)]
    assert [heading for heading in headings if heading not in HEADINGS] == []


def test_signatures_defaults_and_errors_of_javascripts_are_those_of_the_sources() -> None:
    for text in (
        "enqueue(sender: Bytes, payload: Bytes, options?: EnqueueOptions): Promise<string>",
        "new Backpressure(mailbox: Mailbox, options: BackpressureOptions)",
        "- `TypeError`, `RangeError`: JSON cannot hold the value (a function, a BigInt, NaN,",
        "| `firstDelay?` | `number` | Milliseconds after the first delivery; 1,000. |",
        "| `error` | `string \\| null` | What the last nack said; null if it said nothing. |",
        "A `MailboxError`, whose `passing` is true.\n\nThe storage is full",
        "  - `SyntaxError`: it is not",
    ):
        assert text in PAGE, text


def test_headings_have_addresses_of_their_own_and_links_lead_to_them() -> None:
    anchors = [anchor(heading) for heading in HEADINGS]
    assert sorted(anchors) == sorted(set(anchors))
    linked = set(re.findall(r"\]\(#([^)]*)\)", PAGE))
    assert len(linked) > 100
    assert linked - set(anchors) == set()


def test_a_docstring_becomes_markdown() -> None:
    docstring = """Does this, up to 2**53 times.

Two lines that
belong together:

    code(here)

    # and more

- one ``thing``
  that goes on
- another

Args:
    first, second: what they are,
        on two lines.
    third: alone.

Returns:
    What there is.

Raises:
    TypeError, ValueError: wrong."""
    assert markdown(docstring) == [
        r"Does this, up to 2\*\*53 times.",
        "",
        "Two lines that belong together:",
        "",
        "```python",
        "code(here)",
        "",
        "# and more",
        "```",
        "",
        "- one `thing` that goes on",
        "- another",
        "",
        "Arguments:",
        "",
        "- `first`, `second`: what they are, on two lines.",
        "- `third`: alone.",
        "",
        "Returns: What there is.",
        "",
        "Raises:",
        "",
        "- `TypeError`, `ValueError`: wrong.",
    ]
