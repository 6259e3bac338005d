"""How a task waits for the answers of the engine; with the engine, in ``tests/indexeddb/scenarios/answers.py``."""

import asyncio

import pytest

from pymailbox import MailboxError, StorageFullError
from pymailbox.backends.indexeddb.answers import hear, unanswered
from pymailbox.backends.indexeddb.engine import error_of


async def test_whoever_waits_goes_on_within_the_call_that_tells() -> None:
    told = []

    async def wait() -> None:
        ticket, answer = unanswered()
        loop.call_soon(tell, ticket)
        told.append(await answer)
        told.append("went on")

    def tell(ticket: int) -> None:
        hear(ticket, None, "an answer", None)
        told.append("was told")

    loop = asyncio.get_running_loop()
    await asyncio.create_task(wait())
    assert told == [("an answer", None), "went on", "was told"]


async def test_all_that_a_call_tells_go_on_in_their_order() -> None:
    order = []

    async def wait(answer: asyncio.Future[object], name: str) -> None:
        await answer
        order.append(name)

    (one, first), (two, second) = unanswered(), unanswered()
    tasks = [asyncio.create_task(wait(second, "second")), asyncio.create_task(wait(first, "first"))]
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(hear, one, None, 1, None, two, None, 2, None)
    await asyncio.gather(*tasks)
    assert order == ["first", "second"]


async def test_no_task_goes_on_in_the_middle_of_another() -> None:
    ticket, answer = unanswered()
    went_on = []

    async def wait() -> None:
        await answer
        went_on.append(asyncio.current_task())

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    hear(ticket, None, 1, None)
    assert not went_on
    await task
    assert went_on == [task]


async def test_answer_that_comes_before_anybody_waits() -> None:
    ticket, answer = unanswered()
    hear(ticket, None, 1, 2)
    assert await answer == (1, 2)


async def test_cancelled_wait_is_over_at_once_and_the_answer_is_for_nobody() -> None:
    ticket, answer = unanswered()

    async def wait() -> None:
        await answer

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    hear(ticket, None, 1, None)


@pytest.mark.parametrize(("name", "kind"), [("StorageFullError", StorageFullError), ("TypeError", MailboxError)])
async def test_errors_of_the_engine_are_ours(name: str, kind: type[MailboxError]) -> None:
    js_error = _EngineError(name, "there is no room")
    ticket, answer = unanswered()
    hear(ticket, js_error, None, None)
    with pytest.raises(kind, match="there is no room") as raised:
        await answer
    assert type(raised.value) is kind
    assert raised.value.__cause__ is js_error


@pytest.mark.parametrize("passing", [True, False])
def test_error_of_the_engine_says_whether_it_passes(passing: bool) -> None:
    js_error = _EngineError("StorageUnavailableError", "another tab keeps it")
    js_error.passing = passing
    assert error_of(js_error).passing is passing


class _EngineError(Exception):
    passing: bool | None = None

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        self.message = message
