"""``docs/languages.md`` has every public name of both languages, or the reason why not, and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools import languages_page
from tools.generated import generated_part
from tools.public_api import javascript, python
from tools.public_api.languages import GROUPS, UnpairedError, rows
from tools.public_api.pairs import PAIRS

PYTHON = python.public_names("pymailbox")
JAVASCRIPT = javascript.public_names()
MAILBOX = next(name for name in PYTHON if name.name == "Mailbox")
ENQUEUE = next(member for member in MAILBOX.members if member.name == "enqueue")


def refused(
    python_names: tuple[python.PublicName, ...] = PYTHON,
    javascript_names: tuple[javascript.PublicName, ...] = JAVASCRIPT,
    **pairs: dict[str, str],
) -> str:
    with pytest.raises(UnpairedError) as caught:
        rows(python_names, javascript_names, replace(PAIRS, **pairs))
    return str(caught.value)


def without(names: tuple[javascript.PublicName, ...], unwanted: str) -> tuple[javascript.PublicName, ...]:
    return tuple(name for name in names if name.name != unwanted)


def test_the_page_says_what_the_code_has() -> None:
    page = generated_part(languages_page.PAGE, languages_page.TOOL)
    assert page == languages_page.text(), "run: make generated"


def test_each_name_has_a_row() -> None:
    found = rows(PYTHON, JAVASCRIPT, PAIRS)
    assert {row.group for row in found} == set(GROUPS)
    ours, theirs = " ".join(row.python for row in found), " ".join(row.javascript for row in found)
    assert [name.name for name in PYTHON if f"`{name.name}" not in ours] == []
    assert [name.name for name in JAVASCRIPT if f"`{name.name}" not in theirs] == []


def test_a_new_name_of_pythons_needs_a_counterpart_or_a_reason() -> None:
    new = replace(next(name for name in PYTHON if name.name == "backup"), name="move_mailbox")
    told = refused((*PYTHON, new))
    assert told.startswith("Python has move_mailbox, and JavaScript no moveMailbox: add it there, or to `renamed` or ")
    assert told.endswith("`only_python` in tools/public_api/pairs.py")


def test_a_new_verb_needs_one() -> None:
    verbs = (*MAILBOX.members, replace(ENQUEUE, name="enqueue_soon"))
    others = tuple(name for name in PYTHON if name is not MAILBOX)
    assert "Python has Mailbox.enqueue_soon, " in refused((*others, replace(MAILBOX, members=verbs)))


def test_a_new_option_needs_one() -> None:
    assert ENQUEUE.call is not None
    parameters = (*ENQUEUE.call.parameters, ENQUEUE.call.parameters[-1].replace(name="ttl"))
    longer = replace(ENQUEUE, call=replace(ENQUEUE.call, parameters=parameters))
    verbs = tuple(longer if member is ENQUEUE else member for member in MAILBOX.members)
    others = tuple(name for name in PYTHON if name is not MAILBOX)
    told = refused((*others, replace(MAILBOX, members=verbs)))
    assert told.startswith("Python has Mailbox.enqueue.ttl, and JavaScript no ttl: ")


def test_a_new_name_of_javascripts_needs_one() -> None:
    new = javascript.PublicName("moveMailbox", "function", (), ())
    told = refused(javascript_names=(*JAVASCRIPT, new))
    assert told.startswith("JavaScript has moveMailbox, and nothing in Python is called that: ")
    assert "`only_javascript` in tools/public_api/pairs.py" in told


def test_a_name_that_javascript_loses_is_missed() -> None:
    assert "Python has delete_mailbox, " in refused(javascript_names=without(JAVASCRIPT, "deleteMailbox"))


def test_what_is_said_for_nothing_is_refused() -> None:
    told = refused(only_python={**PAIRS.only_python, "open_inbox": "no"})
    assert told == (
        "only_python['open_inbox'] says nothing about the code as it is: remove it from tools/public_api/pairs.py"
    )
