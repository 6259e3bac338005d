"""``docs/conformance.md`` lists the promises that the checks name."""

from __future__ import annotations

from pymailbox.testing.checks import CHECKS
from tools import conformance_page
from tools.generated import generated_part


def test_the_page_lists_what_the_checks_promise() -> None:
    page = generated_part(conformance_page.PAGE, conformance_page.TOOL)
    assert page == conformance_page.text(), "run: make generated"


def test_no_two_checks_promise_the_same() -> None:
    promises = [check.promise for check in CHECKS]
    assert [promise for promise in promises if promises.count(promise) > 1] == []
