"""Two tabs and a worker on one mailbox at once, one of which is killed half-way."""

from collections.abc import Iterator, Set

import pytest

from tests.chaos.in_chromium import prepare
from tests.chaos.judge import held_by, judge, redelivery
from tests.chaos.recorder import AUDITOR, JournalServer, Recorder
from tests.lanes import runtimes
from tests.lanes.runtimes import HarnessTab, harness_path

pytestmark = pytest.mark.browser

MESSAGES = 2000
TAB, OTHER_TAB, WORKER = "tab", "other tab", "worker"
SECONDS = 240.0


@pytest.fixture(scope="module", params=["chromium", "firefox", "webkit"])
def browser(request: pytest.FixtureRequest, server: JournalServer) -> Iterator[HarnessTab]:
    """The first tab of a browser."""
    with runtimes.browser(request.param, server.url + harness_path("page")) as tab:
        prepare(tab, server)
        yield tab


@pytest.mark.parametrize("killed", [OTHER_TAB, WORKER])
def test_crowd(
    killed: str,
    browser: HarnessTab,
    server: JournalServer,
    request: pytest.FixtureRequest,
    redeliveries: dict[str, float | None],
) -> None:
    name = killed.replace(" ", "-")
    recorder, path = server.next_round(name, MESSAGES)
    tabs = {TAB: browser, OTHER_TAB: open_tab(browser, server, "page"), WORKER: open_tab(browser, server, "worker")}

    def start(who: str, *, on: HarnessTab) -> None:
        box = f"indexeddb://crowd-{name}"
        plan = {"box": box, "target": box, "produces": MESSAGES if who == TAB else 0}
        on.run_async(f"actor.start({who!r}, {plan!r}, actor.page_post({server.url + path!r})); None")

    for who, tab in tabs.items():
        start(who, on=tab)
    recorder.wait_for(
        lambda: acked(recorder) >= MESSAGES // 2 and bool(held_by(killed, recorder.history)),
        f"they did not get half-way, with something in the hands of the {killed}",
        SECONDS,
    )
    recorder.note(killed, "killed", told=killed == OTHER_TAB)
    (tabs[WORKER].end_worker if killed == WORKER else tabs[OTHER_TAB].close_tab)()
    # one of those that continue is in front, as where a user looks: WebKit lets hidden tabs do little
    browser.come_to_front()
    wait_for_mark(recorder, "done", tabs.keys() - {killed})
    start(AUDITOR, on=browser)
    wait_for_mark(recorder, "done", {AUDITOR})
    for who in {OTHER_TAB, WORKER} - ({killed} & {OTHER_TAB}):
        tabs[who].close_tab()

    history = list(recorder.history)
    assert judge(history) == []
    assert [event.entries for event in history if event.what == "audited"] == [[]]
    # a message that it was acknowledging when it was killed is gone, unreported
    amid = {key for event in history if event.who == killed and event.what == "removing" for key in event.keys}
    known = {key for event in history if event.what == "removed" for key in event.keys}
    assert {f"{TAB}-{number}" for number in range(MESSAGES)} - known <= amid
    assert len(known) >= MESSAGES - 8
    assert {event.who for event in history if event.what == "removed"} == tabs.keys()
    redeliveries[f"{request.node.callspec.id}: {killed} killed among {MESSAGES} messages"] = redelivery(history)


def open_tab(browser: HarnessTab, server: JournalServer, place: str) -> HarnessTab:
    tab = browser.open_tab(server.url + harness_path(place))
    prepare(tab, server)
    return tab


def acked(recorder: Recorder) -> int:
    return sum(len(event.keys) for event in recorder.history if event.what == "removed")


def wait_for_mark(recorder: Recorder, mark: str, actors: Set[str]) -> None:
    what = f"{', '.join(sorted(actors))}: not all are {mark}"
    recorder.wait_for(lambda: all(recorder.has_said(who, mark) for who in actors), what, SECONDS)
