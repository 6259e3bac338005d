"""The judge finds what is wrong in wrong histories, and nothing in a right one."""

from collections.abc import Sequence

import pytest

from tests.chaos import judge
from tests.chaos.judge import Entry, Event, under_way

BOX, TARGET = "box", "target"


def sent(*keys: str) -> Event:
    return Event("victim", "sent", box=BOX, keys=keys)


def claimed(who: str, *keys: str, box: str = BOX, asked: float = 0.0) -> Event:
    return Event(who, "claimed", box=box, entries=in_order(keys), asked=asked)


def removing(who: str, *keys: str, to: str | None = None) -> Event:
    return Event(who, "removing", box=BOX, keys=keys, to=to)


def removed(who: str, key: str, *, done: bool = True, to: str | None = None) -> Event:
    return Event(who, "removed", box=BOX, keys=[key], done=[done], to=to)


def killed(who: str = "victim", *, told: bool = True, at: float = 0.0) -> Event:
    return Event(who, "killed", told=told, at=at)


def left(*keys: str, box: str = BOX, inflight: int = 0) -> Event:
    return Event("auditor", "audited", box=box, entries=in_order(keys), drained=in_order(keys), inflight=inflight)


def in_order(keys: Sequence[str]) -> list[Entry]:
    return [Entry(key, 0, 1) for key in keys]


def kinds(*history: Event) -> list[str]:
    return [fault.kind for fault in judge.judge(history)]


def test_round_in_which_all_went_well() -> None:
    history = [
        sent("v-0", "v-1", "v-2"),
        claimed("victim", "v-0", "v-1"),
        removing("victim", "v-0"),
        removed("victim", "v-0"),
        killed(),
        claimed("rescuer", "v-1", "v-2"),
        Event("rescuer", "closing", box=BOX),
        left("v-1", "v-2", "v-3"),  # the last one was committed, but its enqueue was not reported
    ]
    assert kinds(*history) == []


def test_sent_and_gone() -> None:
    assert kinds(sent("v-0", "v-1"), left("v-1")) == [judge.LOST]


def test_gone_amid_its_ack_may_be() -> None:
    assert kinds(sent("v-0"), claimed("victim", "v-0"), removing("victim", "v-0"), killed(), left()) == []


def test_still_there_amid_its_ack_may_be() -> None:
    assert kinds(sent("v-0"), claimed("victim", "v-0"), removing("victim", "v-0"), killed(), left("v-0")) == []


def test_acked_and_there() -> None:
    history = [sent("v-0"), claimed("victim", "v-0"), removing("victim", "v-0"), removed("victim", "v-0"), killed()]
    assert kinds(*history, left("v-0")) == [judge.CAME_BACK]


def test_acked_and_handed_out() -> None:
    history = [sent("v-0"), claimed("victim", "v-0"), removing("victim", "v-0"), removed("victim", "v-0")]
    assert kinds(*history, claimed("rescuer", "v-0"), left()) == [judge.CAME_BACK]


def test_acked_before_death_and_handed_out_before_that_was_heard_of() -> None:
    history = [sent("v-0"), claimed("victim", "v-0"), removing("victim", "v-0"), killed(), claimed("rescuer", "v-0")]
    assert kinds(*history, removed("victim", "v-0"), left()) == [judge.CAME_BACK]


def test_acked_twice() -> None:
    history = [sent("v-0"), claimed("a", "v-0"), removing("a", "v-0"), removed("a", "v-0")]
    assert kinds(*history, removed("b", "v-0"), left()) == [judge.ACKED_TWICE]


def test_handed_out_while_its_holder_lives() -> None:
    assert kinds(sent("v-0"), claimed("a", "v-0"), claimed("b", "v-0"), left("v-0")) == [judge.DOUBLED]


def test_handed_out_twice_to_one() -> None:
    assert kinds(sent("v-0"), claimed("a", "v-0"), claimed("a", "v-0"), left("v-0")) == [judge.DOUBLED]


def test_twice_in_one_batch() -> None:
    assert kinds(sent("v-0"), claimed("a", "v-0", "v-0"), left("v-0")) == [judge.DOUBLED]


def test_there_twice() -> None:
    assert kinds(sent("v-0"), left("v-0", "v-0")) == [judge.DOUBLED]


def test_what_a_frozen_page_was_given_before_is_not_its_own_after() -> None:
    history = [
        sent("v-0"),
        killed(),
        Event("victim", "revived", wall=10.0),
        claimed("victim", "v-0", asked=9.0),
        claimed("rescuer", "v-0"),
        left("v-0"),
    ]
    assert kinds(*history) == []


def test_what_a_frozen_page_is_given_afterwards_is_its_own() -> None:
    history = [sent("v-0"), killed(), Event("victim", "revived", wall=10.0), claimed("victim", "v-0", asked=11.0)]
    assert kinds(*history, claimed("rescuer", "v-0"), left("v-0")) == [judge.DOUBLED]


def test_batch_out_of_order() -> None:
    assert kinds(sent("v-0", "v-1"), claimed("a", "v-1", "v-0"), left("v-0", "v-1")) == [judge.OUT_OF_ORDER]


def test_left_out_of_order() -> None:
    assert kinds(sent("v-0", "v-1"), left("v-1", "v-0")) == [judge.OUT_OF_ORDER]


def test_normal_before_high() -> None:
    entries = [Entry("v-0", 0, 1), Entry("v-1", 1, 1)]
    audit = Event("auditor", "audited", box=BOX, entries=entries, drained=entries)
    assert kinds(sent("v-0", "v-1"), audit) == [judge.OUT_OF_ORDER]


@pytest.mark.parametrize(
    ("drained", "kind"),
    [(["v-1", "v-0"], judge.OUT_OF_ORDER), (["v-0"], judge.LOST), (["v-0", "v-1", "v-1"], judge.DOUBLED)],
)
def test_given_out_otherwise_than_shown(drained: list[str], kind: str) -> None:
    audit = Event("auditor", "audited", box=BOX, entries=in_order(["v-0", "v-1"]), drained=in_order(drained))
    assert kinds(sent("v-0", "v-1"), audit) == [kind]


def test_still_held_by_who_is_gone() -> None:
    assert kinds(sent("v-0"), claimed("victim", "v-0"), killed(), left("v-0", inflight=1)) == [judge.STUCK]


def test_never_looked_at() -> None:
    assert kinds(sent("v-0")) == [judge.STUCK]


def test_holder_whose_ack_finds_nothing() -> None:
    history = [sent("v-0"), claimed("a", "v-0"), removing("a", "v-0"), removed("a", "v-0", done=False)]
    assert kinds(*history, left("v-0")) == [judge.REFUSED]


def test_killed_its_holder_and_handed_out_among_others() -> None:
    history = [sent("v-0", "v-1"), claimed("victim", "v-0", "v-1"), killed(told=False)]
    assert kinds(*history, claimed("a", "v-0"), claimed("a", "v-1"), left("v-0", "v-1")) == []
    assert kinds(*history, claimed("a", "v-0", "v-1"), left("v-0", "v-1")) == [judge.NOT_ALONE] * 2


def test_bytes_that_nobody_sent() -> None:
    assert kinds(sent("v-0"), left("v-0", "torn v-1!")) == [judge.STRANGE]


def test_call_that_raised() -> None:
    assert kinds(sent("v-0"), Event("a", "failed", text="ConnectionLostError: x"), left("v-0")) == [judge.FAILED]


def test_call_that_the_leaving_of_the_page_broke_off() -> None:
    history = [killed(), Event("victim", "revived"), Event("victim", "failed", text="ConnectionLostError: x")]
    assert kinds(*history) == []


STEP = (sent("v-0"), claimed("victim", "v-0"), removing("victim", "v-0", to=TARGET))


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ([], ["v-0"], []),
        (["v-0"], [], []),
        ([], [], [judge.LOST]),
        (["v-0"], ["v-0"], [judge.DOUBLED]),
    ],
)
def test_step_that_was_under_way(here: list[str], there: list[str], expected: list[str]) -> None:
    assert kinds(*STEP, killed(), left(*here), left(*there, box=TARGET)) == expected


def test_step_that_was_done() -> None:
    done = removed("victim", "v-0", to=TARGET)
    assert kinds(*STEP, done, killed(), left(), left("v-0", box=TARGET)) == []
    assert judge.CAME_BACK in kinds(*STEP, done, killed(), left("v-0"), left(box=TARGET))


def test_step_that_nobody_took() -> None:
    assert kinds(*STEP, left(), left("v-0", "v-7", box=TARGET)) == [judge.STRANGE]


def test_steps_out_of_order() -> None:
    steps = [
        sent("v-0", "v-1"),
        claimed("victim", "v-0", "v-1"),
        removing("victim", "v-1", to=TARGET),
        removing("victim", "v-0", to=TARGET),
    ]
    assert kinds(*steps, left(), left("v-1", "v-0", box=TARGET)) == []
    assert kinds(*steps, left(), left("v-0", "v-1", box=TARGET)) == [judge.OUT_OF_ORDER]


def test_redelivery_is_the_time_from_the_kill_to_what_the_dead_one_held() -> None:
    history = [
        sent("v-0", "v-1"),
        claimed("victim", "v-0"),
        killed(at=5.0),
        Event("rescuer", "claimed", at=6.0, box=BOX, entries=in_order(["v-1"])),
        Event("rescuer", "claimed", at=7.0, box=BOX, entries=in_order(["v-0"])),
    ]
    assert judge.redelivery(history) == 2.0
    assert judge.redelivery(history[:-1]) is None


def test_what_is_acknowledged_while_it_ends_is_not_waited_for() -> None:
    history = [sent("v-0", "v-1"), claimed("victim", "v-0", "v-1"), killed()]
    assert {spot.key for spot in judge.held_by("victim", history)} == {"v-0", "v-1"}
    assert {spot.key for spot in judge.held_by("victim", [*history, removing("victim", "v-0")])} == {"v-1"}
    revived = Event("victim", "revived")
    assert {spot.key for spot in judge.held_by("victim", [*history, revived, removing("victim", "v-0")])} == {
        "v-0",
        "v-1",
    }


def test_calls_under_way_are_those_that_were_not_seen_to_return() -> None:
    calling = Event("victim", "calling")
    history = [calling, sent("v-0"), calling, claimed("victim", "v-0"), calling, calling]
    assert under_way("victim", history) == 2
    assert under_way("victim", [*history, killed(), sent("v-1")]) == 2
    assert kinds(sent("v-0"), calling, killed(), left("v-0")) == []
    assert under_way("victim", [calling, struck(at=0.0), calling, killed()]) == 1


def struck(at: float) -> Event:
    return Event("victim", "struck", at=at)


def answered(at: float) -> Event:
    return Event("victim", "claimed", box=BOX, at=at)


def test_outage_is_the_longest_time_without_an_answer_after_a_strike() -> None:
    history = [answered(0.0), struck(10.0), Event("victim", "calling", at=12.0), answered(13.0), answered(18.0)]
    assert judge.outage(history) == 5.0
    assert judge.outage([*history, killed(at=30.0), answered(60.0)]) == 5.0
    assert judge.outage([answered(0.0), killed(at=10.0)]) is None


def test_what_was_struck_has_to_be_back_in_time() -> None:
    struck_and_back = [sent("v-0"), struck(10.0), answered(10.0 + judge.LONGEST_OUTAGE)]
    assert kinds(*struck_and_back, killed(at=99.0), left("v-0")) == []
    assert kinds(*struck_and_back, answered(99.0), killed(at=99.0), left("v-0")) == [judge.STUCK]


def test_a_strike_takes_nothing_from_its_holder() -> None:
    history = [sent("v-0"), claimed("victim", "v-0"), struck(0.0)]
    assert kinds(*history, claimed("rescuer", "v-0"), killed(), left("v-0")) == [judge.DOUBLED]
    assert kinds(*history, killed(), claimed("rescuer", "v-0"), left("v-0")) == []


def test_overtaking() -> None:
    right = [
        claimed("one", "a-0", "a-1", "b-0"),
        claimed("one", "a-2", "b-1"),
        killed("one"),
        claimed("another", "a-1", "a-2", "a-3"),
    ]
    assert judge.overtaken(right) == []
    other_priority = Event("one", "claimed", box=BOX, entries=[Entry("a-9", 1, 1), Entry("a-1", 0, 1)])
    assert judge.overtaken([other_priority, claimed("one", "a-2")]) == []
    assert judge.overtaken([claimed("one", "a-2"), claimed("one", "a-1", box=TARGET)]) == []
    [fault] = judge.overtaken([claimed("one", "a-2"), claimed("another", "a-1")])
    assert fault.kind == judge.OUT_OF_ORDER
