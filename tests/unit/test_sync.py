"""``pymailbox.sync``: the verbs without ``await``, from any thread."""

from __future__ import annotations

import asyncio
import copy
import gc
import importlib
import inspect
import math
import os
import pickle
import queue
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, assert_type, cast
from uuid import UUID, uuid4

import pytest

import pymailbox
from pymailbox import (
    DeadLetter,
    Mailbox,
    MailboxClosedError,
    MailboxStats,
    MessageRecord,
    NewMessage,
    Reject,
    RetryPolicy,
    StorageUnavailableError,
    WrongThreadError,
    sync,
)
from pymailbox.actors import Context
from pymailbox.contract import location as location_module
from pymailbox.sync import SyncContext, SyncIterator, SyncMailbox, consuming, loop
from tests.unit.sqlite_support import run_script

TIMEOUT = 30
AT_ONCE = RetryPolicy(first_delay=0, jitter=0)
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX's signals")
needs_forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")


@pytest.fixture(params=["memory", "sqlite"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{uuid4()}" if request.param == "memory" else f"sqlite:///{tmp_path}/mail.db#inbox"


@pytest.fixture
def mailbox(location: str) -> Iterator[SyncMailbox]:
    with sync.open_mailbox(location) as mailbox:
        yield mailbox


class Observer:
    def __init__(self, then: Callable[[int], None]) -> None:
        self.on_depth_change = then


# -- verbs -------------------------------------------------------------------------------------------------------------


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_every_verb_of_a_mailbox_is_there() -> None:
    assert public(Mailbox) - public(SyncMailbox) == set(), "add it to pymailbox/sync/mailbox.py"
    assert public(SyncMailbox) - public(Mailbox) == {"stop_consuming"}


def test_everything_that_handlers_can_do_is_there() -> None:
    assert public(Context) - public(SyncContext) - {"message", "mailbox"} == set()


# a synchronous handler cannot be cancelled
NOT_FOR_THREADS = {"consume": {"timeout"}}


@pytest.mark.parametrize("name", sorted(public(Mailbox) - {"capabilities"}))
def test_verb_takes_what_the_awaited_one_takes(name: str) -> None:
    here, there = inspect.signature(getattr(SyncMailbox, name)), inspect.signature(getattr(Mailbox, name))
    expected = [str(one).partition(":")[0] for one in there.parameters.values()]
    left_out = NOT_FOR_THREADS.get(name, set())
    assert [str(one).partition(":")[0] for one in here.parameters.values()] == [
        one for one in expected if one not in left_out
    ]
    assert "Coroutine" not in str(here.return_annotation)
    assert inspect.getdoc(getattr(SyncMailbox, name))


def test_opening_takes_what_the_awaited_one_takes() -> None:
    here, there = (inspect.signature(module.open_mailbox) for module in (sync, pymailbox))
    assert here.parameters == there.parameters


@pytest.mark.parametrize("name", sorted({"list_mailboxes", "delete_mailbox", "backup", "compact"}))
def test_function_takes_what_the_awaited_one_takes(name: str) -> None:
    here, there = (inspect.signature(getattr(module, name)) for module in (sync, pymailbox))
    assert here.parameters == there.parameters
    assert f"Coroutine[Any, Any, {here.return_annotation}]" == there.return_annotation
    assert inspect.getdoc(getattr(sync, name)) == inspect.getdoc(getattr(pymailbox, name))


def test_types_are_those_of_the_awaited_verbs(mailbox: SyncMailbox) -> None:
    assert_type(mailbox.enqueue(b"alice", b"hello"), UUID)
    assert_type(mailbox.enqueue_many([NewMessage(b"alice", b"hello")]), list[UUID])
    assert_type(mailbox.peek(), list[MessageRecord])
    assert_type(mailbox.dequeue(1, wait=0.5), list[MessageRecord])
    assert_type(mailbox.ack(uuid4()), bool)
    assert_type(mailbox.ack_many([]), int)
    assert_type(mailbox.status(), MailboxStats)
    assert_type(mailbox.dead_letters(), list[DeadLetter])
    assert_type(mailbox.messages(), SyncIterator[MessageRecord])
    assert_type(next(mailbox.messages()), MessageRecord)


def test_messages_go_in_and_out(mailbox: SyncMailbox) -> None:
    first = mailbox.enqueue(b"alice", b"1")
    rest = mailbox.enqueue_many(NewMessage(b"alice", b"%d" % number) for number in range(2, 5))
    records = mailbox.dequeue(2)
    assert [record.id for record in records] == [first, rest[0]]
    assert mailbox.ack(first)
    assert mailbox.nack(rest[0], error="no")
    assert mailbox.status().queued_messages == 3
    [again] = mailbox.dequeue(1)
    assert (again.id, again.delivery_count) == (rest[0], 2)
    assert mailbox.dead_letter(again.id, "given up")
    assert [letter.record.id for letter in mailbox.dead_letters()] == [rest[0]]
    assert mailbox.ack_many(iter(rest)) == 2


def test_ack_and_send(location: str) -> None:
    with sync.open_mailbox(location) as inbox, sync.open_mailbox(location.replace("inbox", "out") + "x") as out:
        inbox.enqueue(b"alice", b"hello")
        [record] = inbox.dequeue()
        assert inbox.ack_and_send(record.id, [(out, NewMessage(b"inbox", b"done"))])
        assert out.status().queued_messages == 1
        with pytest.raises(TypeError, match=r"messages\[0\]\[0\] must be an open SyncMailbox, not str"):
            inbox.ack_and_send(record.id, [("out", NewMessage(b"", b""))])  # type: ignore[list-item]


_ITSELF: list[Any] = []
_ITSELF.append(_ITSELF)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda one: one.enqueue(b"alice", "text"), TypeError, "payload"),
        (lambda one: one.enqueue(b"", b"", headers={"a": bytearray(b"b")}), TypeError, r"headers\['a'\] must be a str"),
        (lambda one: one.enqueue(b"", b"", headers={"a": "\ud800"}), ValueError, "headers must be texts"),
        (lambda one: one.enqueue(b"", b"", headers={str(n): "" for n in range(65)}), ValueError, "headers .* not 65"),
        (lambda one: one.enqueue(b"", b"", headers={"n": 8192 * "a"}), ValueError, "headers .* not 8193"),
        (lambda one: one.enqueue(b"", b"", dedupe_for=0), ValueError, "dedupe_for needs a message_id"),
        (lambda one: one.enqueue_many([NewMessage(b"", b"", dedupe_for=1)]), ValueError, r"messages\[0\].dedupe_for"),
        (lambda one: one.enqueue_json(float("nan")), ValueError, "value cannot be written as JSON"),
        (lambda one: one.enqueue_json({"a": b"bytes"}), TypeError, "value cannot be written as JSON"),
        (lambda one: one.enqueue_json(_ITSELF), ValueError, "value cannot be written as JSON"),
        (lambda one: one.dequeue(0), ValueError, "limit"),
        (lambda one: one.nack(uuid4(), delay=-1), ValueError, "delay must be between"),
        (lambda one: one.ack_and_send(uuid4(), 5), TypeError, "messages must be an iterable"),
        (lambda one: one.ack_and_send(uuid4(), [5]), TypeError, r"messages\[0\] must be a pair"),
        (lambda one: one.ack_and_send(uuid4(), [(one,)]), TypeError, r"messages\[0\] must be a pair"),
        (lambda one: one.ack_and_send(uuid4(), [(one, 5)]), TypeError, r"messages\[0\]\[1\] must be a NewMessage"),
        (lambda one: one.consume(print, timeout=1), TypeError, "timeout"),
        (lambda one: one.consume(print, ordered_by_sender=1), TypeError, "ordered_by_sender must be True or False"),
        (lambda one: one.consume(print, concurrency=0), ValueError, "concurrency"),
        (lambda one: sync.ask(one, b"", timeout=0), ValueError, "timeout must be a positive number"),
        (lambda one: sync.ask(one, cast("bytes", "text"), timeout=1), TypeError, "payload"),
        (lambda _: sync.open_mailbox("app.db"), ValueError, "looks like a file"),
    ],
)
def test_bad_arguments_are_named(
    mailbox: SyncMailbox, call: Callable[[SyncMailbox], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call(mailbox)
    assert mailbox.status().queued_messages == 0


def test_iterable_is_run_through_in_the_thread_that_passes_it(location: str) -> None:
    """It may belong to a thread, as a database's rows do, and may call verbs itself."""

    class Rows:
        def __init__(self, *rows: Any) -> None:
            self._rows = rows

        def __iter__(self) -> Iterator[Any]:
            here.add(threading.get_ident())
            mailbox.status()
            return iter(self._rows)

    here: set[int] = set()
    given = uuid4()
    with sync.open_mailbox(location) as mailbox:
        first, _ = mailbox.enqueue_many(Rows(NewMessage(b"", b"1"), NewMessage(b"", b"2", message_id=given, delay=100)))
        assert mailbox.promote(Rows(given)) == 1
        assert [record.id for record in mailbox.dequeue(1, ack=Rows(first))] == [given]
        assert mailbox.ack_and_send(given, Rows((mailbox, NewMessage(b"", b"3"))))
        [last] = mailbox.dequeue()
        assert mailbox.ack_many(Rows(last.id)) == 1
    assert here == {threading.get_ident()}


def test_closed_mailbox_is_not_asked(location: str) -> None:
    with sync.open_mailbox(location) as mailbox:
        pass
    with pytest.raises(MailboxClosedError):
        sync.ask(mailbox, b"", timeout=1)


def test_file_is_not_copied_onto_itself(tmp_path: Path) -> None:
    file = tmp_path / "mail.db"
    with sync.open_mailbox(file), pytest.raises(ValueError, match="is the mailbox file itself"):
        sync.backup(file, file)


def test_functions_on_files(tmp_path: Path) -> None:
    file = tmp_path / "mail.db"
    with sync.open_mailbox(file) as mailbox:
        mailbox.enqueue(b"alice", b"hello")
        sync.backup(file, tmp_path / "copy.db")
        assert_type(sync.compact(file), int)
    assert sync.list_mailboxes(tmp_path / "copy.db") == ["default"]
    assert sync.delete_mailbox(file)
    assert sync.list_mailboxes(file) == []


def test_closed_handle(location: str) -> None:
    mailbox = sync.open_mailbox(location)
    mailbox.enqueue(b"alice", b"hello")
    [record] = mailbox.dequeue()
    mailbox.close()
    mailbox.close()
    with pytest.raises(MailboxClosedError):
        mailbox.status()
    with sync.open_mailbox(location) as other:
        [again] = other.dequeue()
        assert (again.id, again.delivery_count) == (record.id, 1)


def test_handle_is_not_copied(mailbox: SyncMailbox) -> None:
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            attempt(mailbox)


def test_handle_that_is_dropped_says_so_and_gives_back(location: str) -> None:
    mailbox = sync.open_mailbox(location)
    mailbox.enqueue(b"alice", b"hello")
    mailbox.dequeue()
    with pytest.warns(ResourceWarning, match="was never closed"):  # noqa: PT031
        del mailbox
        gc.collect()
    with sync.open_mailbox(location) as other:
        assert other.dequeue(wait=TIMEOUT)


def test_observer_is_called_before_enqueue_returns_and_must_not_call_verbs(mailbox: SyncMailbox) -> None:
    depths: list[int] = []
    errors: list[BaseException] = []

    def observe(depth: int) -> None:
        depths.append(depth)
        try:
            mailbox.status()
        except WrongThreadError as error:
            errors.append(error)

    assert mailbox.set_depth_observer(Observer(observe))
    for number in range(1, 21):
        mailbox.enqueue(b"alice", b"hello")
        assert depths == list(range(1, number + 1))
    assert len(errors) == 20
    assert "depth observer" in str(errors[0])


async def test_inside_an_event_loop_it_blocks_that_and_works(mailbox: SyncMailbox) -> None:
    mailbox.enqueue(b"alice", b"hello")
    assert len(mailbox.dequeue()) == 1
    await asyncio.sleep(0)
    assert asyncio.get_running_loop() is not loop.shared_caller(lambda: asyncio.sleep(0)).loop


def test_in_pyodide_it_names_run_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location_module, "IN_PYODIDE", True)
    for name in [name for name in sys.modules if name.startswith("pymailbox.sync")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(pymailbox, "sync")
    there = importlib.import_module("pymailbox.sync")
    assert not [name for name in sys.modules if name.startswith("pymailbox.sync.")], "they are not in the pages' wheel"
    for name in ("open_mailbox", "list_mailboxes", "delete_mailbox", "backup", "compact"):
        with pytest.raises(StorageUnavailableError, match=r"pymailbox\.run_sync\(\)"):
            getattr(there, name)("memory://")
    assert not hasattr(there, "SyncMailbox")
    with pytest.raises(StorageUnavailableError, match=r"pymailbox\.run_sync\(\)"):
        there.SyncMailbox  # noqa: B018
    monkeypatch.undo()
    assert sys.modules["pymailbox.sync"] is sync


def test_module_is_there_without_an_import_of_its_own() -> None:
    assert run_script("import pymailbox; print(pymailbox.sync.open_mailbox.__name__)") == "open_mailbox\n"


# -- threads -----------------------------------------------------------------------------------------------------------


def test_32_threads_use_one_handle(mailbox: SyncMailbox) -> None:
    threads, each = 32, 20

    def work(number: int) -> list[UUID]:
        handled = []
        for index in range(each):
            mailbox.enqueue(b"%d" % number, b"%d" % index)
            for record in mailbox.dequeue(1):
                assert mailbox.ack(record.id)
                handled.append(record.id)
        return handled

    with ThreadPoolExecutor(threads) as pool:
        handled = [message_id for ids in pool.map(work, range(threads)) for message_id in ids]
    handled += [record.id for record in mailbox.dequeue(threads * each)]
    assert len(handled) == threads * each
    assert max(Counter(handled).values()) == 1


def test_32_threads_open_handles_at_once(location: str) -> None:
    begin = threading.Barrier(32, timeout=TIMEOUT)

    def work(number: int) -> int:
        begin.wait()
        with sync.open_mailbox(location) as mailbox:
            mailbox.enqueue(b"alice", b"hello")
            return len(mailbox.dequeue(1, wait=TIMEOUT))

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(work, range(32))) == 32


def test_waiting_call_keeps_no_other_thread_from_its_own(mailbox: SyncMailbox) -> None:
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(mailbox.dequeue, 1, wait=TIMEOUT) for _ in range(8)]
        for number in range(8):
            mailbox.enqueue(b"alice", b"%d" % number)
        got = [record.payload for one in waiting for record in one.result(TIMEOUT)]
    assert sorted(got) == [b"%d" % number for number in range(8)]


def test_calls_of_one_thread_keep_their_order_among_others(mailbox: SyncMailbox) -> None:
    def work(number: int) -> None:
        for index in range(50):
            mailbox.enqueue(b"%d" % number, b"%d" % index)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    records = mailbox.dequeue(1000)
    for number in range(8):
        mine = [int(record.payload) for record in records if record.sender == b"%d" % number]
        assert mine == list(range(50))


def test_close_ends_those_who_wait(mailbox: SyncMailbox) -> None:
    with ThreadPoolExecutor(1) as pool:
        begun = threading.Event()

        def wait() -> list[MessageRecord]:
            begun.set()
            return mailbox.dequeue(wait=math.inf)

        waiting = pool.submit(wait)
        begun.wait(TIMEOUT)
        mailbox.close()
        with pytest.raises(MailboxClosedError):
            waiting.result(TIMEOUT)


# -- iterators ---------------------------------------------------------------------------------------------------------


def test_messages_are_iterated_and_go_back_when_it_is_left(mailbox: SyncMailbox) -> None:
    ids = mailbox.enqueue_many([NewMessage(b"alice", b"%d" % number) for number in range(5)])
    for record in mailbox.messages():
        assert record.id == ids[0]
        break
    stats = mailbox.status()
    assert (stats.queued_messages, stats.inflight_messages) == (4, 1)
    assert [(record.id, record.delivery_count) for record in mailbox.dequeue()] == [(one, 1) for one in ids[1:]]


def test_iterator_that_is_kept_is_ended_by_close(mailbox: SyncMailbox) -> None:
    mailbox.enqueue_many([NewMessage(b"alice", b"hello")] * 5)
    with mailbox.messages() as messages:
        next(messages)
        assert mailbox.status().inflight_messages == 5
    assert mailbox.status().inflight_messages == 1
    with pytest.raises(StopIteration):
        next(messages)
    messages.close()


def test_iterator_left_by_an_exception_gives_back(mailbox: SyncMailbox) -> None:
    mailbox.enqueue_many([NewMessage(b"alice", b"hello")] * 5)
    try:
        for _ in mailbox.messages():
            raise KeyError
    except KeyError:
        pass
    assert mailbox.status().inflight_messages == 1


def test_iterator_ends_with_its_mailbox(mailbox: SyncMailbox) -> None:
    mailbox.enqueue(b"alice", b"hello")
    seen = []
    for record in mailbox.messages():
        seen.append(record.payload)
        threading.Timer(0.01, mailbox.close).start()
    assert seen == [b"hello"]


# -- interruptions -----------------------------------------------------------------------------------------------------

INTERRUPTED = """
import math, os, signal, sys, threading, time
from pymailbox import sync

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever this process got from its parent
mailbox = sync.open_mailbox(sys.argv[1])
waiting = threading.Event()

def interrupt():
    waiting.wait(20)
    while mailbox._caller.loop.is_running() and not mailbox._mailbox._listener._waiting:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    waiting.set()
    {wait}
except KeyboardInterrupt:
    print("interrupted")
mailbox.enqueue(b"alice", b"hello")
[record] = mailbox.dequeue(wait=20)
print(record.payload.decode(), record.delivery_count)
mailbox.ack(record.id)
print(mailbox.status().queued_messages, mailbox.status().inflight_messages)
"""


@needs_signals
@pytest.mark.parametrize("wait", ["mailbox.dequeue(wait=math.inf)", "next(mailbox.messages())"])
def test_keyboard_interrupt_ends_a_wait_and_strands_nothing(location: str, wait: str) -> None:
    assert run_script(INTERRUPTED.replace("{wait}", wait), location) == "interrupted\nhello 1\n0 0\n"


AT_ANY_TIME = """
import faulthandler, random, signal, sys, threading, warnings
from pymailbox import MailboxError, NewMessage, sync

class Interrupted(BaseException):
    pass

armed = False

def interrupt(number, frame):
    global armed
    if armed and "/pymailbox/" in frame.f_code.co_filename:
        armed = False
        raise Interrupted
    if armed:
        signal.setitimer(signal.ITIMER_REAL, 0.00002)

faulthandler.dump_traceback_later(50, exit=True)
warnings.simplefilter("ignore", RuntimeWarning)  # a coroutine that was made, and then never awaited
signal.signal(signal.SIGALRM, interrupt)
rng = random.Random(int(sys.argv[2]))
mailbox = sync.open_mailbox(sys.argv[1])
interrupts = acked = 0

def interrupted(verb, *arguments, **options):
    global armed, interrupts
    armed = True
    signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.00001, 0.0008))
    try:
        result = verb(*arguments, **options)
        armed = False
        return result
    except Interrupted:
        interrupts += 1
        return None

import uuid
known, done = [], set()
for number in range(150):
    message_id = uuid.UUID(int=number)
    if interrupted(mailbox.enqueue, b"me", b"x", message_id=message_id) is None:
        mailbox.enqueue(b"me", b"x", message_id=message_id)
    for record in interrupted(mailbox.dequeue, 2, wait=0.01) or ():
        interrupted(mailbox.ack, record.id)
        mailbox.ack(record.id)
        assert record.id not in done, "handed out twice"
        done.add(record.id)
armed = False
while records := mailbox.dequeue(wait=0.01):
    for record in records:
        mailbox.ack(record.id)
        assert record.id not in done, "handed out twice"
        done.add(record.id)
stats = mailbox.status()
assert stats.queued_messages == stats.inflight_messages == 0, stats
assert interrupts, "nothing was interrupted"
print(len(done))
"""


@needs_signals
@pytest.mark.parametrize("seed", range(2))
def test_exception_out_of_a_signal_handler_at_any_time(tmp_path: Path, seed: int) -> None:
    printed = run_script(AT_ANY_TIME, f"sqlite:///{tmp_path}/mail.db#inbox", seed)
    assert printed == "150\n"


# -- the end of a process, and forks -----------------------------------------------------------------------------------

LEFT_OPEN = """
import sys, threading
from pymailbox import sync

mailbox = sync.open_mailbox(sys.argv[1], max_deliveries=1)
mailbox.enqueue(b"alice", b"hello")
assert mailbox.dequeue(1)
kept = mailbox.messages()
threading.Thread(target=lambda: mailbox.dequeue(wait=1000), daemon=True).start()
print("ends")
"""


def test_handle_that_is_left_open_at_exit_gives_back_unblamed(tmp_path: Path) -> None:
    location = f"sqlite:///{tmp_path}/mail.db#inbox"
    assert run_script(LEFT_OPEN, location) == "ends\n"
    with sync.open_mailbox(location, max_deliveries=1) as mailbox:
        [record] = mailbox.dequeue()
        assert record.delivery_count == 1


FORKED = """
import os, signal, sys, warnings
from pymailbox import WrongThreadError, sync

warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads
mailbox = sync.open_mailbox(sys.argv[1])
mailbox.enqueue(b"parent", b"before")
[held] = mailbox.dequeue()
iterator = mailbox.messages()
sys.stdout.flush()
child = os.fork()
if child == 0:
    signal.alarm(30)
    code = 3
    try:
        try:
            next(iterator)
        except WrongThreadError as error:
            assert "forked" in str(error)
        else:
            raise AssertionError("the iterator went on")
        mailbox.enqueue(b"child", b"after")
        assert mailbox.status().inflight_messages == 1
        assert not mailbox.nack(held.id), "it is the parent's"
        mailbox.close()
        code = 0
    except WrongThreadError as error:
        assert "forked" in str(error)
        code = 1
    finally:
        os._exit(code)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert mailbox.nack(held.id)
print(mailbox.status().queued_messages)
"""


@needs_forks
def test_handle_in_a_forked_process_is_opened_anew(tmp_path: Path) -> None:
    assert run_script(FORKED, f"sqlite:///{tmp_path}/mail.db#inbox") == "0\n2\n"


@needs_forks
def test_memory_stays_with_the_parent(tmp_path: Path) -> None:
    assert run_script(FORKED, "memory://inbox") == "1\n1\n"


FORKED_BY_THE_WAY = """
import os, signal, sys, threading, warnings
from pymailbox import sync

warnings.simplefilter("ignore", DeprecationWarning)
location = sys.argv[1]
mailbox = sync.open_mailbox(location)
going = True

def work():
    while going:
        mailbox.enqueue(b"parent", b"x")
        for record in mailbox.dequeue(1):
            mailbox.ack(record.id)

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
codes = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        code = 1
        try:
            mailbox.enqueue(b"child", b"x")
            with sync.open_mailbox(location) as other:
                other.status()
            mailbox.close()
            code = 0
        finally:
            os._exit(code)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
going = False
for thread in threads:
    thread.join()
print(codes)
"""


@needs_forks
def test_forks_while_threads_work(tmp_path: Path) -> None:
    assert run_script(FORKED_BY_THE_WAY, f"sqlite:///{tmp_path}/mail.db#inbox") == f"{[0] * 10}\n"


# -- consume -----------------------------------------------------------------------------------------------------------


def test_handler_runs_in_the_thread_that_consumes(mailbox: SyncMailbox) -> None:
    seen: list[tuple[bytes, int]] = []
    mailbox.enqueue_many([NewMessage(b"alice", b"%d" % number) for number in range(5)])

    def handler(message: MessageRecord, context: SyncContext) -> None:
        seen.append((message.payload, threading.get_ident()))
        assert context.mailbox is mailbox
        if len(seen) == 5:
            context.stop()

    mailbox.consume(handler)
    assert seen == [(b"%d" % number, threading.get_ident()) for number in range(5)]
    assert mailbox.status().queued_messages == mailbox.status().inflight_messages == 0


def test_handlers_run_at_the_same_time_and_may_call_verbs(mailbox: SyncMailbox) -> None:
    together = threading.Barrier(4, timeout=TIMEOUT)
    mailbox.enqueue_many([NewMessage(b"alice", b"x")] * 4)
    depths = queue.SimpleQueue[int]()

    def handler(message: MessageRecord) -> None:
        depths.put(mailbox.status().inflight_messages)
        if together.wait() == 0:
            mailbox.stop_consuming()

    mailbox.consume(handler, concurrency=4)
    assert [depths.get() for _ in range(4)]
    assert mailbox.status().inflight_messages == 0


def test_handler_may_stop_a_consumer_that_has_only_just_begun(
    mailbox: SyncMailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread can be quicker than the one that called ``consume``."""
    begin, stopped = consuming._Running.begin_in, threading.Event()

    def begin_and_dawdle(running: consuming._Running, *arguments: Any) -> None:
        begin(running, *arguments)
        assert stopped.wait(TIMEOUT)

    def handler(message: MessageRecord) -> None:
        mailbox.stop_consuming()
        stopped.set()

    monkeypatch.setattr(consuming._Running, "begin_in", begin_and_dawdle)
    mailbox.enqueue(b"alice", b"x")
    consumer = threading.Thread(target=mailbox.consume, args=(handler,), kwargs={"concurrency": 2}, daemon=True)
    consumer.start()
    consumer.join(5)
    assert not consumer.is_alive()


def test_consumer_may_be_stopped_before_it_has_begun(mailbox: SyncMailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = mailbox._handle

    def handle_and_stop() -> Any:
        """As by a signal while a forked child opens the mailbox."""
        monkeypatch.undo()
        mailbox.stop_consuming()
        return handle()

    mailbox.enqueue(b"alice", b"x")
    monkeypatch.setattr(mailbox, "_handle", handle_and_stop)
    consumer = threading.Thread(target=mailbox.consume, args=(lambda message: None,), daemon=True)
    consumer.start()
    consumer.join(5)
    assert not consumer.is_alive()
    assert mailbox.status().queued_messages == 1


def test_what_a_handler_sends_commits_with_its_ack(location: str) -> None:
    with sync.open_mailbox(location) as inbox, sync.open_mailbox(location + "out") as out:
        inbox.enqueue(b"alice", b"hello")

        def handler(message: MessageRecord, context: SyncContext) -> None:
            context.send(out, b"inbox", message.payload.upper())
            context.stop()

        inbox.consume(handler)
        assert [record.payload for record in out.dequeue()] == [b"HELLO"]


def test_failures_are_tried_again_and_rejected(mailbox: SyncMailbox) -> None:
    mailbox.enqueue(b"alice", b"fails")
    mailbox.enqueue(b"alice", b"bad")
    tries: Counter[bytes] = Counter()

    def handler(message: MessageRecord, context: SyncContext) -> None:
        tries[message.payload] += 1
        if message.payload == b"bad":
            raise Reject("no")
        if tries[b"fails"] < 3:
            raise StopIteration
        context.stop()

    mailbox.consume(handler, retry=AT_ONCE)
    assert tries[b"fails"] == 3
    assert [letter.reason for letter in mailbox.dead_letters()] == ["no"]


async def _async(message: MessageRecord) -> None: ...


class _AsyncCall:
    async def __call__(self, message: MessageRecord) -> None: ...


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (_async, "must not be async"),
        (_AsyncCall(), "must not be async"),
        (5, "must be a function"),
        (lambda: None, "must take a message"),
    ],
)
def test_bad_handler(mailbox: SyncMailbox, handler: Any, words: str) -> None:
    with pytest.raises(TypeError, match=f"handler {words}"):
        mailbox.consume(handler)


def test_handler_that_gives_something_to_await_has_failed(mailbox: SyncMailbox) -> None:
    mailbox.enqueue(b"alice", b"hello")

    def behind_a_decorator(message: MessageRecord, context: SyncContext) -> object:
        context.stop()
        return _async(message)

    mailbox.consume(behind_a_decorator, retry=RetryPolicy(max_deliveries=1))
    (letter,) = mailbox.dead_letters()
    assert "TypeError: the handler returned an awaitable" in letter.reason


def test_exit_out_of_a_handler_ends_it_and_the_message_goes_back(mailbox: SyncMailbox) -> None:
    mailbox.enqueue(b"alice", b"hello")
    for concurrency in (1, 2):
        with pytest.raises(SystemExit):
            mailbox.consume(lambda _: sys.exit(3), concurrency=concurrency)
        [record] = mailbox.peek()
        assert record.delivery_count == 0
    assert mailbox.status().queued_messages == 1, "and the event loop goes on"


def test_closing_ends_it(mailbox: SyncMailbox) -> None:
    threading.Timer(0.01, mailbox.close).start()
    mailbox.consume(lambda _: None)
    with pytest.raises(MailboxClosedError):
        mailbox.consume(lambda _: None)


INTERRUPTED_CONSUMER = """
import os, signal, sys, threading, time
from pymailbox import sync

mailbox = sync.open_mailbox(sys.argv[1])
concurrency, times = int(sys.argv[2]), int(sys.argv[3])
mailbox.enqueue(b"alice", b"hello")
begun, forever = threading.Event(), threading.Event()
raised = threading.Semaphore(0)

def raise_it(*arguments):
    raised.release()
    signal.default_int_handler(*arguments)

signal.signal(signal.SIGINT, raise_it)

def interrupt():
    begun.wait(20)
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        raised.acquire(timeout=20)  # two that come before the main thread has its turn are one
        time.sleep(0.2)
    if times == 1:
        forever.set()

def handler(message):
    begun.set()
    for _ in range(200):  # a signal that comes just before a wait does not end it
        if forever.wait(0.1):
            break

threading.Thread(target=interrupt, daemon=True).start()
try:
    mailbox.consume(handler, concurrency=concurrency)
except KeyboardInterrupt:
    print("interrupted")
stats = mailbox.status()
print(stats.queued_messages, stats.inflight_messages, sum(record.delivery_count for record in mailbox.peek()))
"""


@needs_signals
@pytest.mark.parametrize(
    ("concurrency", "times", "left"),
    [
        pytest.param(1, 1, "1 0 0", id="in the handler: it goes back"),
        pytest.param(2, 1, "0 0 0", id="the handler finishes"),
        pytest.param(2, 2, "1 0 0", id="the handler is cut off"),
    ],
)
def test_keyboard_interrupt_ends_a_consumer(tmp_path: Path, concurrency: int, times: int, left: str) -> None:
    location = f"sqlite:///{tmp_path}/mail.db#inbox"
    assert run_script(INTERRUPTED_CONSUMER, location, concurrency, times) == f"interrupted\n{left}\n"


INTERRUPTED_BETWEEN_STEPS = """
import faulthandler, queue, sys
from pymailbox import sync
from pymailbox.sync import consuming

faulthandler.dump_traceback_later(20, exit=True)
mailbox = sync.open_mailbox(sys.argv[1], max_deliveries=1)
mailbox.enqueue(b"alice", b"hello")
where, times, handled = sys.argv[2], int(sys.argv[3]), []

def once(when):
    global times
    if when == where and times:
        times -= 1
        raise KeyboardInterrupt

class Jobs(queue.SimpleQueue):
    def get(self, *arguments, **options):
        job = super().get(*arguments, **options)
        if job is not None:
            once("taken")
        return job

consuming.queue.SimpleQueue = Jobs
deliver = consuming._Job.deliver

def deliver_late(job):
    once("handled")
    deliver(job)

consuming._Job.deliver = deliver_late

def handler(message):
    handled.append(message.payload)

try:
    mailbox.consume(handler)
except KeyboardInterrupt:
    print("interrupted")
stats = mailbox.status()
print(len(handled), stats.queued_messages, stats.inflight_messages, sum(r.delivery_count for r in mailbox.peek()))
"""


@needs_signals
@pytest.mark.parametrize(
    ("where", "times", "left"),
    [
        pytest.param("taken", 1, "0 1 0 0", id="a job was taken, and nobody knows of it yet"),
        pytest.param("handled", 1, "1 0 0 0", id="the handler has returned, and nobody knows of it yet"),
    ],
)
def test_keyboard_interrupt_between_two_steps_loses_no_job(tmp_path: Path, where: str, times: int, left: str) -> None:
    location = f"sqlite:///{tmp_path}/mail.db#inbox"
    assert run_script(INTERRUPTED_BETWEEN_STEPS, location, where, times) == f"interrupted\n{left}\n"


SIGNALS_AT_ANY_TIME = """
import faulthandler, random, signal, sys, time
from pymailbox import NewMessage, sync

class Interrupted(BaseException):
    pass

def interrupt(number, frame):
    if "/pymailbox/" in frame.f_code.co_filename:
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.0001, 0.01) if rng.random() < 0.3 else 0)
        raise Interrupted
    signal.setitimer(signal.ITIMER_REAL, 0.00002)

faulthandler.dump_traceback_later(50, exit=True)
rng = random.Random(int(sys.argv[2]))
mailbox = sync.open_mailbox(sys.argv[1], max_deliveries=1)
sent = 40
for _ in range(30):
    mailbox.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(sent)])
    handled = []
    signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.001, 0.02))
        mailbox.consume(lambda message: handled.append(message.payload))
    except Interrupted:
        pass
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)
    deadline = time.monotonic() + 10
    while mailbox.status().inflight_messages and time.monotonic() < deadline:
        time.sleep(0.01)  # the consumer was cut off
    stats, queued = mailbox.status(), [record.payload for record in mailbox.peek(1000)]
    assert (stats.inflight_messages, stats.dead_letters) == (0, 0), stats
    assert set(handled) | set(queued) == {b"%d" % number for number in range(sent)}
    assert mailbox.purge() == len(queued)
print("ok")
"""


@needs_signals
@pytest.mark.parametrize("seed", range(2))
def test_signals_at_any_time_strand_nothing_of_a_consumer(location: str, seed: int) -> None:
    assert run_script(SIGNALS_AT_ANY_TIME, location, seed) == "ok\n"
