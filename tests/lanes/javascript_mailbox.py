"""Mailboxes of the JavaScript API, as Python mailboxes: so the conformance suite tells whether it keeps the contract.

Every verb is one call of the verb of the same name in `js/api/mailbox.js`, with arguments in JavaScript's own terms:
ids and priorities as text, milliseconds, a function as the observer. What Python refuses has to be refused there. Like
`cell.py` it is fetched into Pyodide, and imports nothing of the tests.
"""

import asyncio
import contextlib
import logging
import math
import re
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote
from uuid import UUID

from pyodide.code import run_js
from pyodide.ffi import JsException, create_proxy, jsnull, to_js

from js import AbortController, Object, location
from pymailbox import (
    Capability,
    DeadLetter,
    IndexedDbMailbox,
    Mailbox,
    MailboxClosedError,
    MailboxError,
    MailboxStats,
    MessagePriority,
    MessageRecord,
    MessageStatus,
    NewMessage,
    StorageReport,
    WrongThreadError,
    open_mailbox,
)
from pymailbox.backends.indexeddb.frames import pack_remembered, pack_whole, unpack_remembered, unpack_whole
from pymailbox.contract.archive import Adopted, Archive, Page, Remembered, Section, WholeMessage
from pymailbox.contract.companions import Unless
from pymailbox.contract.headers import Headers

_T = TypeVar("_T")

_js_new_string = run_js("(text) => new String(text)")
# One crossing for a message. What Python passes as None is undefined there, that is not given.
_js_message = run_js(
    """
    (sender, payload, priority, messageId, delay, headers, dedupeFor) => ({
      ...(sender === undefined ? {} : { sender, payload }),
      priority,
      ...(messageId === undefined ? {} : { messageId }),
      ...(delay === undefined ? {} : { delay }),
      ...(headers === undefined ? {} : { headers }),
      ...(dedupeFor === undefined ? {} : { dedupeFor }),
    })
    """
)
# Of other buffers than of bytes, and of one that nothing can be read from any more.
_js_numbers = run_js("() => new Float64Array(2)")
_js_transferred = run_js(
    """
    () => {
      const view = new Uint8Array(1);
      structuredClone(view, { transfer: [view.buffer] });
      return view;
    }
    """
)
_js_import = run_js("(url) => import(url)")

# The channel on which the engines tell news; what is posted there last arrives last.
_js_after_news = run_js(
    """
    async () => {
      const [sender, receiver] = [new BroadcastChannel("pymailbox"), new BroadcastChannel("pymailbox")];
      const mark = crypto.randomUUID();
      const arrived = new Promise((resolve) => {
        receiver.onmessage = ({ data }) => data.mark === mark && resolve();
      });
      sender.postMessage({ mark });
      await arrived;
      sender.close();
      receiver.close();
    }
    """
)


async def _js_api() -> Any:
    """The module as a page imports it; not the engine that Python loads from the wheel."""
    return await _js_import(f"{location.origin}/js/api/mailbox.js")


class _Neighbours:
    """The mailboxes of the origin, as a handle opens them beside itself."""

    def __init__(self, js_api: Any) -> None:
        self._js_api = js_api

    async def open(self, name: str, *, relaxed: bool = False, lease: float | None = None) -> Mailbox:
        return await JavaScriptMailbox.open(name, **({} if lease is None else {"lease": lease}))

    async def names(self) -> list[str]:
        return list(await self._js_api.listMailboxes())

    async def delete(self, name: str, unless: Unless | None = None) -> bool:
        kept_by = () if unless is None else (str(unless.message_id), unless.held_only)
        return bool(await self._js_api.besideOne(Object.new()).delete(name, *kept_by))


class JavaScriptMailbox(Mailbox):
    """A mailbox that JavaScript opened."""

    capabilities = frozenset(Capability)

    def __init__(self, name: str, js_api: Any, js_mailbox: Any) -> None:
        self.name = name
        self._js_api = js_api
        self._js_mailbox = js_mailbox
        self._nearby = _Neighbours(js_api)
        self._js_observer: Any = None
        self._loop = asyncio.get_running_loop()
        self._closing = False

    @classmethod
    async def open(cls, name: str, **options: Any) -> Self:
        js_api = await _js_api()
        js_options = {_camel(option): _js(value) for option, value in options.items()}
        if "lease" in options:
            js_options["lease"] = jsnull if options["lease"] is None else _milliseconds(options["lease"])
        if options.get("max_deliveries", 0) is None:
            js_options["maxDeliveries"] = math.inf
        with _python_errors():
            js_mailbox = await js_api.openMailbox(f"indexeddb://{quote(name, safe='')}", _js(js_options))
        return cls(name, js_api, js_mailbox)

    # What comes as a plain ``def`` takes its arguments' bytes at the call, and calls when it is awaited.

    def enqueue(
        self,
        sender: Any,
        payload: Any,
        priority: Any = MessagePriority.NORMAL,
        *,
        message_id: Any = None,
        delay: Any = None,
        headers: Any = None,
        dedupe_for: Any = None,
    ) -> Any:
        how = _js_how(priority, message_id, delay, headers, dedupe_for)
        return self._enqueue(_js(sender), _js(payload), _js_message(None, None, *how))

    async def _enqueue(self, *js_arguments: Any) -> UUID:
        return UUID(await self._call("enqueue", *js_arguments))

    def enqueue_many(self, messages: Any) -> Any:
        return self._enqueue_many(_js_all(messages, _js))

    async def _enqueue_many(self, js_messages: Any) -> list[UUID]:
        return [UUID(text) for text in await self._call("enqueueMany", js_messages)]

    @property
    def _place(self) -> Any:
        return IndexedDbMailbox, self.name

    def _enqueue_sent_on(self, message_id: UUID, messages: Any) -> Any:
        js_messages = _js_all(messages, _js)
        return self._call_api("enqueueSentOn", self._js_mailbox, str(message_id), js_messages)

    async def dequeue(self, limit: Any = None, *, wait: Any = None, ack: Any = ()) -> list[MessageRecord]:
        self._check_loop()
        js_abort = AbortController.new()
        options = {"signal": js_abort.signal} | _given(limit=_js_given(limit), wait=_milliseconds(wait))
        if ack != ():
            options["ack"] = _js_all(ack, _js_id)
        call = asyncio.ensure_future(self._call("dequeue", _js(options)))
        return [_record(js_record) for js_record in await _unless_cancelled(call, js_abort.abort)]

    async def ack(self, message_id: Any) -> bool:
        return bool(await self._call("ack", _js_id(message_id)))

    async def ack_many(self, ids: Any) -> int:
        return int(await self._call("ackMany", _js_all(ids, _js_id)))

    def ack_and_send(self, message_id: Any, messages: Any) -> Any:
        return self._ack_and_send(_js_id(message_id), _js_sends(messages))

    async def _ack_and_send(self, js_id: Any, sends: Any) -> bool:
        if isinstance(sends, list):
            sends = to_js([send and to_js([self._js_target(i, send[0]), send[1]]) for i, send in enumerate(sends)])
        return bool(await self._call("ackAndSend", js_id, sends))

    def _js_target(self, index: int, target: Any) -> Any:
        if isinstance(target, JavaScriptMailbox):
            return target._js_mailbox
        if isinstance(target, Mailbox):
            # JavaScript has no mailboxes but those in IndexedDB
            raise ValueError(f"messages[{index}][0], {target!r}, is in another database")
        return _js(target)

    async def nack(self, message_id: Any, *, delay: Any = None, error: Any = None, failed: Any = True) -> bool:
        options = _given(delay=_milliseconds(delay), error=_js_given(error)) | {"failed": _js(failed)}
        return bool(await self._call("nack", _js_id(message_id), _js(options)))

    async def dead_letter(self, message_id: Any, reason: Any) -> bool:
        return bool(await self._call("deadLetter", _js_id(message_id), _js(reason)))

    async def dead_letters(self, limit: Any = None, *, offset: Any = 0) -> list[DeadLetter]:
        options = _given(limit=_js_given(limit)) | {"offset": _js(offset)}
        return [_letter(js_letter) for js_letter in await self._call("deadLetters", _js(options))]

    async def redrive(self, message_id: Any) -> bool:
        return bool(await self._call("redrive", _js_id(message_id)))

    async def discard(self, message_id: Any) -> bool:
        return bool(await self._call("discard", _js_id(message_id)))

    async def recover(self) -> int:
        return int(await self._call("recover"))

    async def status(self) -> MailboxStats:
        return _stats(await self._call("status"))

    async def peek(self, limit: Any = None, *, status: Any = None, offset: Any = 0) -> list[MessageRecord]:
        js_status = status.value if isinstance(status, MessageStatus) else _js_unlike_text(status)
        options = _given(limit=_js_given(limit), status=None if status is None else js_status)
        return [_record(js_record) for js_record in await self._call("peek", _js(options | {"offset": _js(offset)}))]

    async def get(self, message_id: Any) -> MessageRecord | DeadLetter | None:
        js_found = await self._call("get", _js_id(message_id))
        if js_found is jsnull:
            return None
        return _letter(js_found) if hasattr(js_found, "reason") else _record(js_found)

    async def promote(self, ids: Any = None) -> int:
        return int(await self._call("promote", *(() if ids is None else (_js_all(ids, _js_id),))))

    def changes(self) -> AsyncIterator[MailboxStats]:
        self._check_loop()
        with _python_errors():
            return _Iterator(self, self._js_mailbox.changes(), _stats)

    async def purge(self) -> int:
        return int(await self._call("purge"))

    def set_depth_observer(self, observer: Any) -> bool:
        told = getattr(observer, "on_depth_change", None)
        js_observer = create_proxy(_logging(told)) if told is not None else _js(observer)
        with _python_errors():
            installed = bool(self._js_mailbox.setDepthObserver(js_observer))
        if self._js_observer is not None:
            self._js_observer.destroy()
        self._js_observer = js_observer if told is not None else None
        return installed

    def messages(self) -> AsyncIterator[MessageRecord]:
        self._check_loop()
        with _python_errors():
            return _Iterator(self, self._js_mailbox.messages(), _record)

    async def storage_report(self) -> StorageReport:
        js_report = await self._call("storageReport")
        fields = ("durability", "persistent", "usage", "quota", "wiped")
        return StorageReport(*(_python(getattr(js_report, field)) for field in fields))

    async def request_persistence(self) -> bool:
        return bool(await self._call("requestPersistence"))

    def _archive(self) -> Archive:
        with _python_errors():
            return _JavaScriptArchive(self._js_api.archiveOf(self._js_mailbox))

    async def close(self) -> None:
        self._check_loop()
        self._closing = True
        await asyncio.shield(self._call("close"))

    def _die(self) -> None:
        self._closing = True
        self._js_api.letDie(self._js_mailbox)

    def __del__(self) -> None:
        if not self._closing:
            warnings.warn(f"{self!r} was never closed", ResourceWarning, stacklevel=1, source=self)
            # in JavaScript this follows the collection of the mailbox, which nobody can ask for
            self._js_mailbox.close()

    async def _call(self, verb: str, *js_arguments: Any) -> Any:
        self._check_loop()
        with _python_errors():
            return await getattr(self._js_mailbox, verb)(*js_arguments)

    async def _call_api(self, name: str, *js_arguments: Any) -> Any:
        with _python_errors():
            return await getattr(self._js_api, name)(*js_arguments)

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise WrongThreadError


class _JavaScriptArchive(Archive):
    """What JavaScript's export and import are made of."""

    def __init__(self, js_archive: Any) -> None:
        self._js_archive = js_archive

    async def page(self, section: Section, after: int, until: int | None) -> Page:
        code = -1 if section is None else int(section)
        js_batch, details, next_one, end = await self._js_archive.readSection(code, after, until)
        return Page(unpack_whole(js_batch.to_bytes(), details), int(next_one), int(end))

    async def adopt(self, messages: Sequence[WholeMessage]) -> list[Adopted]:
        frames, details = pack_whole(messages)
        js_stored = await self._js_archive.adopt(to_js(frames), details)
        return [Adopted.STORED if new else Adopted.KNOWN for new in js_stored.to_bytes()]

    async def remembered(self, after: UUID | None) -> list[Remembered]:
        js_known = await self._js_archive.readRemembered(None if after is None else to_js(after.bytes))
        return unpack_remembered(js_known.to_bytes())

    async def remember(self, ids: Sequence[Remembered]) -> bool:
        await self._js_archive.remember(to_js(pack_remembered(ids)))
        return True


class _Iterator(Generic[_T]):
    """The values of a JavaScript iterator. To be left is to be collected, as for the native ones."""

    def __init__(self, mailbox: JavaScriptMailbox, js_iterator: Any, convert: Callable[[Any], _T]) -> None:
        self._mailbox = mailbox
        self._js_iterator = js_iterator
        self._convert = convert

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        self._mailbox._check_loop()
        js_result = await _unless_cancelled(asyncio.ensure_future(self._next()), self._js_iterator.return_)
        if js_result.done:
            raise StopAsyncIteration
        return self._convert(js_result.value)

    async def _next(self) -> Any:
        with _python_errors():
            return await self._js_iterator.next()

    async def aclose(self) -> None:
        await self._js_iterator.return_()

    def __del__(self) -> None:
        self._js_iterator.return_()


# -- both languages on the same mailboxes ------------------------------------------------------------------------------
#
# Each language has an engine of its own here, as in two tabs, and hears of the other's enqueues a moment later. The
# checks may count on one context, so an enqueue returns when that moment is over. And since a handle sends to handles
# of its own language, each has a twin in the other one, which does nothing else.


class JavaScriptBesidePython(JavaScriptMailbox):
    """A mailbox that JavaScript opened, and Python as well."""

    twin: Mailbox

    async def _call(self, verb: str, *js_arguments: Any) -> Any:
        answer = await super()._call(verb, *js_arguments)
        if verb in ("enqueue", "enqueueMany", "ackAndSend", "redrive"):
            await _js_after_news()
        return answer

    def _js_target(self, index: int, target: Any) -> Any:
        return super()._js_target(index, _twin_of(target) if isinstance(target, PythonBesideJavaScript) else target)

    async def close(self) -> None:
        await super().close()
        await self.twin.close()

    def _die(self) -> None:
        super()._die()
        self.twin._die()


class PythonBesideJavaScript(IndexedDbMailbox):
    """A mailbox that Python opened, and JavaScript as well."""

    twin: Mailbox

    async def _enqueue_prepared(self, messages: list[Any], sent_on: UUID | None = None) -> list[UUID]:
        ids = await super()._enqueue_prepared(messages, sent_on)
        await _js_after_news()
        return ids

    async def redrive(self, message_id: UUID) -> bool:
        redriven = await super().redrive(message_id)
        await _js_after_news()
        return redriven

    async def _ack_and_send_prepared(self, message_id: UUID, sends: list[tuple[Any, Any]]) -> bool:
        own = [
            (_twin_of(target) if isinstance(target, JavaScriptBesidePython) else target, message)
            for target, message in sends
        ]
        done = await super()._ack_and_send_prepared(message_id, own)
        await _js_after_news()
        return done

    async def close(self) -> None:
        await super().close()
        await self.twin.close()

    def _die(self) -> None:
        super()._die()
        self.twin._die()


def _twin_of(mailbox: JavaScriptBesidePython | PythonBesideJavaScript) -> Mailbox:
    if mailbox._closing:
        raise MailboxClosedError
    return mailbox.twin


async def _open_python(name: str, **options: Any) -> IndexedDbMailbox:
    mailbox = await open_mailbox(f"indexeddb://{quote(name, safe='')}", **options)
    assert isinstance(mailbox, IndexedDbMailbox)
    return mailbox


def alternating() -> Callable[..., Awaitable[Mailbox]]:
    """A factory whose handles are by turns JavaScript's and Python's."""
    turns = cycle((True, False))

    async def open_by_turns(name: str, **options: Any) -> Mailbox:
        if next(turns):
            js_mailbox = await JavaScriptBesidePython.open(name, **options)
            js_mailbox.twin = await _open_python(name)
            return js_mailbox
        mailbox = await _open_python(name, **options)
        mailbox.__class__ = PythonBesideJavaScript
        assert isinstance(mailbox, PythonBesideJavaScript)
        mailbox.twin = await JavaScriptMailbox.open(name)
        return mailbox

    return open_by_turns


# -- from one language to the other ------------------------------------------------------------------------------------


def _js(value: Any) -> Any:
    """A value as JavaScript has it; what it does not know becomes an object that means nothing to it."""
    match value:
        case None:
            return jsnull
        case int() if 2**31 <= abs(value) < 2**53:
            return float(value)  # some of these would become a BigInt
        case bool() | int() | float() | str():
            return value
        case NewMessage():
            how = _js_how(value.priority, value.message_id, value.delay, value.headers, value.dedupe_for)
            return _js_message(_js(value.sender), _js(value.payload), *how)
        case dict():
            return Object.fromEntries(to_js([[key, item] for key, item in value.items()]))
        case _ if hasattr(value, "typeof"):
            return value
    try:
        view = memoryview(value)
    except TypeError:
        return to_js([_js(item) for item in value]) if isinstance(value, Iterable) else Object.new()
    except ValueError:
        return _js_transferred()
    return to_js(bytes(view)) if view.itemsize == 1 else _js_numbers()


def _js_how(priority: Any, message_id: Any, delay: Any, headers: Any, dedupe_for: Any) -> tuple[Any, ...]:
    """How a message is enqueued, as `_js_message` takes it."""
    js_priority = _text(priority) if isinstance(priority, MessagePriority) else _js_unlike_text(priority)
    js_id = None if message_id is None else _js_id(message_id)
    return js_priority, js_id, _milliseconds(delay), _js_headers(headers), _milliseconds(dedupe_for)


def _js_headers(headers: Any) -> Any:
    """Pairs: the keys of an object would all be texts."""
    if isinstance(headers, Mapping):
        return to_js([to_js([_js(name), _js(text)]) for name, text in headers.items()])
    # pairs are headers to JavaScript, and not to Python
    return None if headers is None else to_js(["no headers"])


def _js_id(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else _js_unlike_text(value)


def _js_unlike_text(value: Any) -> Any:
    """Where JavaScript takes a text and Python does not, a text that JavaScript does not take for one."""
    return _js_new_string(value) if isinstance(value, str) else _js(value)


def _js_all(values: Any, js_of: Callable[[Any], Any]) -> Any:
    """All of an iterable, or what stands where one is expected."""
    if isinstance(values, str):
        return values
    if isinstance(values, bytes) or not isinstance(values, Iterable):
        return _js(values)
    return to_js([js_of(value) for value in values])


def _js_sends(messages: Any) -> Any:
    """Pairs of a mailbox, not yet JavaScript's, and a message that is; None for what is no pair."""
    if isinstance(messages, (str, bytes)) or not isinstance(messages, Iterable):
        return _js(messages)
    return [(pair[0], _js(pair[1])) if isinstance(pair, tuple) and len(pair) == 2 else None for pair in messages]


def _js_given(value: Any) -> Any:
    return None if value is None else _js(value)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _milliseconds(seconds: Any) -> Any:
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool):
        # as whole as it was meant: 0.07 * 1000 is a little more than 70
        return round(seconds * 1000, 6)
    return _js_given(seconds)


def _record(js_record: Any) -> MessageRecord:
    message_id = UUID(js_record.id)
    if str(message_id) != js_record.id:
        raise AssertionError(f"the id {js_record.id!r} is not in canonical form")
    return MessageRecord(
        message_id,
        js_record.sender.to_bytes(),
        js_record.payload.to_bytes(),
        MessagePriority[js_record.priority.upper()],
        _time(js_record.createdAt),
        MessageStatus(js_record.status),
        js_record.deliveryCount,
        Headers(dict(Object.entries(js_record.headers).to_py())),
        _time(js_record.dueAt) if hasattr(js_record, "dueAt") else None,
    )


def _letter(js_letter: Any) -> DeadLetter:
    return DeadLetter(_record(js_letter.record), js_letter.reason, _python(js_letter.error), _time(js_letter.diedAt))


def _stats(js_stats: Any) -> MailboxStats:
    oldest = _python(js_stats.oldestQueuedAt)
    return MailboxStats(
        js_stats.queuedMessages,
        js_stats.inflightMessages,
        {priority: getattr(js_stats.queuedByPriority, _text(priority)) for priority in MessagePriority},
        js_stats.deadLetters,
        js_stats.delayedMessages,
        None if oldest is None else _time(oldest),
        js_stats.everQueued,
    )


def _time(js_date: Any) -> datetime:
    return datetime.fromtimestamp(js_date.getTime() / 1000, UTC)


def _python(value: Any) -> Any:
    return None if value is jsnull else value


def _text(priority: MessagePriority) -> str:
    return priority.name.lower()


def _camel(name: str) -> str:
    return re.sub("_(.)", lambda match: match[1].upper(), name)


async def _unless_cancelled(call: "asyncio.Future[Any]", undo: Callable[[], Any]) -> Any:
    """What a call returns. Cancelled, it is undone; where that comes too late, what it returned is not lost."""
    try:
        await asyncio.wait([call])
    except asyncio.CancelledError:
        undo()
        await asyncio.wait([call])
        if call.exception() is not None or getattr(call.result(), "done", False):
            raise
    return call.result()


def _logging(told: Callable[[int], None]) -> Callable[[int], None]:
    """An observer whose errors are logged in Python as well; it is JavaScript that survives them."""

    def tell(depth: int) -> None:
        try:
            told(depth)
        except (Exception, asyncio.CancelledError):
            logging.getLogger(__name__).exception("an observer raised")
            raise

    return tell


class _AbortError(Exception):
    """A signal ended the call."""


@contextlib.contextmanager
def _python_errors() -> Any:
    """Turns the errors of JavaScript into Python's, and the argument that they name into Python's spelling.

    None stays as it is: a `JsException` that passes through here would be part of a cycle that nobody collects.
    """
    try:
        yield
    except JsException as error:
        arguments = {"TypeError": TypeError, "RangeError": ValueError}
        others = {kind.__name__: kind for kind in MailboxError.__subclasses__()} | {"AbortError": _AbortError}
        if error.name not in arguments:
            ours = others.get(error.name, MailboxError)(error.message)
            if isinstance(ours, MailboxError):
                ours.passing = error.passing
            raise ours from error
        name, space, text = error.message.partition(" ")
        python_name = re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", name)
        python_text = text.replace("messageId", "message_id")
        raise arguments[error.name](python_name + space + python_text) from error
