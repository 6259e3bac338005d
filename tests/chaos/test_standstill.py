"""A browser that stands still is distinguished from what runs in it: only then is something played again."""

import os
import signal

import pytest

from tests.chaos.in_chromium import ChromiumStage
from tests.chaos.rounds import StandstillError

pytestmark = pytest.mark.browser


def test_only_a_page_that_neither_answers_nor_computes_stands_still() -> None:
    with ChromiumStage() as stage:
        stage.check()
        busy = stage.open_tab("page")
        busy.run_async("import js; js.setTimeout(js.Function('for (;;);'), 1000); None")
        while busy.answers():
            pass  # until it is in its loop
        stage.check(busy)
        busy.close()

        processes = stage.browser.call("SystemInfo.getProcessInfo")["processInfo"]
        pages = [process["id"] for process in processes if process["type"] == "renderer"]
        for page in pages:
            os.kill(page, signal.SIGSTOP)
        with pytest.raises(StandstillError, match="nor does its page"):
            stage.check()
        stage.renew()
        stage.check()
