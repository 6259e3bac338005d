"""The table of verbs is complete, and so is the documentation of verbs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Final

import pytest

from pymailbox import Capability, ConnectionLostError, Mailbox, open_mailbox
from pymailbox.testing import Fault, FaultKind, FaultyMailbox
from pymailbox.testing._verbs import USES, VERBS
from pymailbox.testing.model import Model

ROOT: Final = Path(__file__).parents[2]

LOOPS: Final = {"messages", "changes", "consume", "close"}
"""Public methods of a mailbox that are not a single call."""


def test_it_has_each_verb_of_a_mailbox() -> None:
    methods = {
        name for name, method in vars(Mailbox).items() if inspect.isfunction(method) and not name.startswith("_")
    }
    assert set(VERBS) == methods - LOOPS


def test_each_capability_belongs_to_a_use() -> None:
    without = {Capability.WAIT, Capability.RELEASE, Capability.CHANGES, Capability.ASK}
    assert set(Capability) - {use.capability for use in USES.values()} == without


@pytest.mark.parametrize("verb", [verb for verb, use in VERBS.items() if use.touches_storage])
async def test_it_can_be_made_to_fail(verb: str) -> None:
    async with FaultyMailbox(await open_mailbox("memory://"), [Fault(FaultKind.LOST_BEFORE, verb)]) as mailbox:
        with pytest.raises(ConnectionLostError, match=f"^{verb}: .* as planned"):
            await USES[verb].call(mailbox)
        await USES[verb].call(mailbox)
        assert mailbox.struck == [(verb, FaultKind.LOST_BEFORE)]


def test_the_model_has_each_that_says_something_of_messages() -> None:
    assert {verb for verb in VERBS if hasattr(Model, verb)} == {
        verb for verb, use in VERBS.items() if use.concerns_messages
    }


@pytest.mark.parametrize("verb", [*VERBS, *LOOPS])
def test_the_page_on_verbs_has_it_in_its_table(verb: str) -> None:
    assert re.search(rf"^\|.*`(?:await )?{verb}\(", (ROOT / "docs/verbs.md").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("verb", [*VERBS, *LOOPS - {"consume"}])
def test_the_page_on_javascript_has_it_in_its_table(verb: str) -> None:
    first, *others = verb.split("_")
    name = first + "".join(map(str.capitalize, others))
    assert re.search(rf"^\|.*`{name}\(", (ROOT / "docs/javascript.md").read_text("utf-8"), re.MULTILINE)
