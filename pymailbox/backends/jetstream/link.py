"""The connection to a stream's servers, one for all mailboxes of the stream in an event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final, NamedTuple, NoReturn

from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError

from ...contract.arguments import check_period
from ...contract.errors import ConnectionLostError, MailboxError, StorageUnavailableError
from ...contract.location import IN_PYODIDE, Connect
from ...runtime.network import when_it_may_be_back
from ..notifier import Notifier
from . import settings
from .client import LinkClient
from .credentials import check_keys
from .errors import (
    NO_CLUSTER,
    NO_STREAM,
    TOO_FEW_SERVERS,
    CutOffError,
    NoStreamError,
    NotSentError,
    NotThereError,
    RefusedError,
    TimedOutError,
)
from .location import Address
from .page import check_servers, whereabouts
from .space import Space
from .wire import OnMessage, headers_of

_logger = logging.getLogger("pymailbox")

CONNECT_TIMEOUT: Final = 10.0
"""Seconds within which a server has to be there, unless ``connect_timeout`` of ``connect`` says otherwise."""

_LEAST_ATTEMPT: Final = 3.0
"""Seconds of an attempt to connect to one server: a third of all, but no less than these."""

_LONGEST_ATTEMPT: Final = 10.0
"""And no more: another server may be there, and a commit waits only for ``PATIENCE``."""

PATIENCE: Final = 60.0
"""Seconds for which a commit is sent again while its outcome is unknown."""

_HURRIED_FOR: Final = 1.0
"""Seconds after which whoever still waits for a server lets it be looked for again."""

SEQUENCE_HEADER: Final = "Nats-Sequence"
"""The server sets it on each message that it reads from a stream, whose own headers may be any."""

_ANSWER_TIMEOUT: Final = 5.0
_CLOSE_TIMEOUT: Final = 2.0

_REFUSED_SUBJECT: Final = re.compile(r'permissions violation for \w+ to "([^"]+)"', re.IGNORECASE)

_UNWELCOME: Final = re.compile("authorization|authentication|expired|credentials", re.IGNORECASE)
"""In what a server says that lets somebody not in."""

_LARGEST_MESSAGE: Final = 1024 * 1024
"""Bytes of one stream message, whatever the server takes."""

_HEADROOM: Final = 2048
"""Bytes of one message that are kept for headers."""

_HEAD_ROOM: Final = 512
"""Bytes of a stream message beside its largest command."""

_links: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, Link]] = weakref.WeakKeyDictionary()


class Piece(NamedTuple):
    """A message to which there is no answer of its own."""

    subject: str
    data: bytes
    headers: dict[str, str]


class Answer(NamedTuple):
    data: bytes
    headers: bytes
    """As they came."""


class Link:
    """A connection, and the stream behind it."""

    def __init__(self, address: Address, connect: Connect, key: Any) -> None:
        self.address = address
        self.stream = address.stream
        self.loop = asyncio.get_running_loop()
        self.notifier = Notifier()
        self.replicas: dict[str, Any] = {}
        """Of the mailboxes in use, by name."""
        self.on_reconnect: set[Callable[[], None]] = set()
        self.on_leave: set[Callable[[], None]] = set()
        self.absences = 0
        """How often the page was left or frozen, and what handles held was given back."""
        self.space = Space(self)
        self.wipes = 0
        """How often the stream was found to be another one."""
        self.created = ""
        self._config: Mapping[str, Any] = {}
        """What the stream is like."""
        self._deafness = ""
        """Why no answer can come."""
        self.largest = _LARGEST_MESSAGE
        self._connect_options = connect
        self._connect_timeout: float = connect.get("connect_timeout", CONNECT_TIMEOUT)
        self._key = key
        self._users = 0
        self._nc = _new_client()
        self._nc.on_closed = self._on_closed
        self._stop_listening = when_it_may_be_back(self._nc.hurry)
        self._inbox = ""
        self._asked: dict[str, tuple[set[str], asyncio.Future[Answer]]] = {}
        self._asks = 0
        self._hurried_at = 0.0
        self._closing: asyncio.Future[None] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._refused: asyncio.Future[NatsError] = self.loop.create_future()
        self._ensuring: asyncio.Task[None] | None = None
        if IN_PYODIDE:
            whereabouts().watch_for(self)

    # -- coming and going ----------------------------------------------------------------------------------------------

    @classmethod
    async def acquire(cls, address: Address, connect: Connect | None, *, create: bool = True) -> Link:
        """A link that works; ``release`` comes after it."""
        check_servers(address.servers)
        options = connect or Connect({})
        check_keys(options)
        if "connect_timeout" in options:
            check_period("connect_timeout in connect", options["connect_timeout"])
        # however the location is written
        place = frozenset(address.servers), address.stream
        key = (place, tuple(sorted((name, _identity(value)) for name, value in options.items())), create)
        for loop in [loop for loop in _links if loop.is_closed()]:
            del _links[loop]  # its links know it, and would keep it
        links = _links.setdefault(asyncio.get_running_loop(), {})
        link = links.get(key)
        if link is None or (link._nc.is_closed and link._opening is not None and link._opening.done()):
            link = links[key] = cls(address, options, key)
            link._opening = asyncio.create_task(link._open(create))
        link._users += 1
        assert link._opening is not None
        try:
            await asyncio.shield(link._opening)
            link._want_replicas(address.replicas)
        except BaseException:
            await link.release()
            raise
        return link

    def _want_replicas(self, replicas: int | None) -> None:
        """Notes on how many servers the stream has to be, if a location says it.

        Raises:
            StorageUnavailableError: it is on another number of them.
        """
        if replicas is not None:
            settings.check_stream(self._config, self.stream, replicas)
            self.address = self.address._replace(replicas=replicas)

    async def release(self) -> None:
        """To be called once for each ``acquire``; the last one closes the connection."""
        self._users -= 1
        if self._users:
            return
        links = _links.get(self.loop, {})
        if links.get(self._key) is self:
            del links[self._key]
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    def drop(self) -> None:
        """Closes the connection of an event loop that was closed, which its transport can no longer do itself."""
        with suppress(AttributeError):
            transport = self._nc._transport._io_writer.transport  # type: ignore[union-attr]
            transport._closing, socket, transport._sock = True, transport._sock, None
            socket.close()

    def leave(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """The page is left or frozen: messages are sent within the call, as far as it can, and the connection ends."""
        self.absences += 1
        self._nc.leave(messages)
        for call in list(self.on_leave):
            call()

    async def _close(self) -> None:
        if self._opening is not None:
            if not self._opening.done():
                self._opening.cancel()
            with suppress(BaseException):
                await self._opening
        self._stop_listening()
        self.space.close()
        for replica in list(self.replicas.values()):
            await replica.stop()
        if self._ensuring is not None:
            self._ensuring.cancel()
        with suppress(Exception):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._nc.close()
        self._fail_all(CutOffError())

    async def _open(self, create: bool) -> None:
        connecting = asyncio.create_task(self._connect())
        try:
            async with asyncio.timeout(self._connect_timeout):
                waited: set[asyncio.Future[Any]] = {connecting, self._refused}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            last = self._nc.last_error
            await self._give_up(connecting)
            raise StorageUnavailableError(
                f"no NATS server answers at {self._where} within {self._connect_timeout:g} seconds"
                f"{'' if last is None else f' ({_text(last)})'}. Start one, or check the address",
                passing=True,
            ) from None
        except BaseException:
            await self._give_up(connecting)
            raise
        if self._refused.done():
            await self._give_up(connecting)
            raise StorageUnavailableError(
                f"the NATS server at {self._where} refuses the connection ({_text(self._refused.result())}). Check "
                "what connect={...} says"
            ) from None
        try:
            connecting.result()
        except Exception as error:  # also of what signs
            raise StorageUnavailableError(f"cannot connect to {self._where} ({_text(error)})") from error
        try:
            settings.check_version(str(self._nc._server_info["version"]))
            self._note_largest()
            self._inbox = self._nc.new_inbox()
            await self._nc.listen(f"{self._inbox}.*", self._on_answer)
            await self._find_stream(create)
        except BaseException:
            with suppress(Exception):
                await self._nc.close()
            raise

    async def _connect(self) -> None:
        options: dict[str, Any] = {
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.1,
            "name": "pymailbox",
            **self._connect_options,
            "connect_timeout": min(max(_LEAST_ATTEMPT, self._connect_timeout / 3), _LONGEST_ATTEMPT),
        }
        for name in ("error_cb", "reconnected_cb", "servers", "allow_reconnect"):
            if name in self._connect_options:
                raise TypeError(f"connect must not have {name!r}, which is the mailbox's own")
        await self._nc.connect(
            list(self.address.servers), error_cb=self._on_error, reconnected_cb=self._on_reconnected, **options
        )

    async def _give_up(self, connecting: asyncio.Task[None]) -> None:
        with suppress(BaseException):
            while not connecting.done():  # Python 3.11 loses a cancellation that comes as an attempt fails
                connecting.cancel()
                await asyncio.wait([connecting], timeout=0.1)
            connecting.result()
        with suppress(Exception):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._nc.close()

    @property
    def _where(self) -> str:
        return ", ".join(self.address.servers)

    # -- the stream ----------------------------------------------------------------------------------------------------

    async def _find_stream(self, create: bool) -> None:
        """Finds the stream, or makes it; notes whether it is another one than before."""
        deadline = self.loop.time() + self._time_to_find
        while True:
            try:
                found = await self._look_for_stream(create)
                break
            except RefusedError as error:
                if not error.passing or self.loop.time() > deadline:
                    raise error.meaning(f"the stream {self.stream!r}") from None
            except NotThereError:
                if not self.created or self.loop.time() > deadline:  # else it has just been started
                    raise StorageUnavailableError(
                        f"the server at {self._where} has no JetStream, which mailboxes need. Start it with -js",
                        passing=bool(self.created),
                    ) from None
            except (TimedOutError, CutOffError):
                if self.loop.time() > deadline:
                    raise StorageUnavailableError(
                        f"JetStream does not answer at {self._where}. A cluster needs most of its servers", passing=True
                    ) from None
            self.keep_hurrying()
            await asyncio.sleep(0.1)
        if self.created and found != self.created:
            self.wipes += 1
            for replica in list(self.replicas.values()):
                replica.start_afresh()
        self.created = found

    @property
    def _time_to_find(self) -> float:
        """Seconds in which the stream has to be found: once it was there, whoever looks has patience of its own."""
        return CONNECT_TIMEOUT if self.created else self._connect_timeout

    async def _look_for_stream(self, create: bool) -> str:
        try:
            there = await self.api(f"STREAM.INFO.{self.stream}")
        except RefusedError as error:
            if error.code != NO_STREAM:
                raise
            if not create:
                raise NoStreamError(f"there is no stream {self.stream!r} at {self._where}") from None
            there = await self._create_stream()
        self._config = there["config"]
        settings.check_stream(self._config, self.stream, self.address.replicas)
        self.space.note(there)
        return str(there["created"])

    async def _create_stream(self) -> Any:
        """What the server says of it. A cluster that was only just started does not know all its servers for a moment.

        Raises:
            ValueError: it has fewer of them than the location asks for.
        """
        wanted = settings.wanted(self.stream, self.address.replicas)
        until = self.loop.time() + self._time_to_find / 3
        while True:
            try:
                return await self.api(f"STREAM.CREATE.{self.stream}", wanted)
            except RefusedError as refused:
                if wanted["num_replicas"] == 1 or refused.code not in (NO_CLUSTER, TOO_FEW_SERVERS):
                    raise
                if refused.code == NO_CLUSTER or self.loop.time() > until:
                    raise ValueError(
                        f"replicas={self.address.replicas} in location: the cluster has fewer servers ({refused})"
                    ) from None
            await asyncio.sleep(0.1)

    async def look_for_stream(self) -> None:
        """Looks whether the stream is still there, and makes it again if it is not; an obstacle may pass."""
        try:
            await self._ensure_stream()
        except StorageUnavailableError as error:
            if not error.passing:
                raise

    async def _ensure_stream(self) -> None:
        if self._ensuring is None or self._ensuring.done():
            self._ensuring = asyncio.create_task(self._find_stream(create=True))
        await asyncio.shield(self._ensuring)

    def _note_largest(self) -> None:
        self.largest = min(_LARGEST_MESSAGE, self._nc.max_payload) - _HEADROOM

    @property
    def room(self) -> int:
        """Bytes of the largest command in one stream message."""
        return self.largest - _HEAD_ROOM

    # -- asking --------------------------------------------------------------------------------------------------------

    async def ask(
        self, subject: str, data: bytes = b"", headers: dict[str, str] | None = None, seconds: float = _ANSWER_TIMEOUT
    ) -> Answer:
        """Sends a message and waits for the answer to it.

        Raises:
            NotThereError, TimedOutError, CutOffError: there is none.
            StorageUnavailableError: the server does not allow the subject.
        """
        number, answer = await self.start(subject, data, headers)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise TimedOutError from None
        finally:
            self.forget(number)

    async def start(
        self, subject: str, data: bytes, headers: dict[str, str] | None, before: Sequence[Piece] = ()
    ) -> tuple[str, asyncio.Future[Answer]]:
        """Sends a message, and others ``before`` it: the answer to it, and a number by which to ``forget`` that.

        Raises:
            NotSentError: there is no connection, or one with which too much waits to be sent.
            CutOffError: it was lost.
            StorageUnavailableError: the server does not take so large a message.
        """
        if not self._can_send:
            raise NotSentError
        if self._deafness:
            raise StorageUnavailableError(self._deafness)
        self._asks += 1
        number = str(self._asks)
        answer: asyncio.Future[Answer] = self.loop.create_future()
        self._asked[number] = {subject, *(piece.subject for piece in before)}, answer
        try:
            for piece in before:
                await self._nc.publish(piece.subject, piece.data, headers=piece.headers)
            reply = f"{self._inbox}.{number}"
            self._nc.send(subject, data, reply, headers)
        except MaxPayloadError as error:
            self.forget(number)
            raise StorageUnavailableError(
                f"the server now takes {self._nc.max_payload} bytes in one message, fewer than when the mailbox "
                "was opened. Try again, or raise its max_payload"
            ) from error
        except (NatsError, OSError) as error:
            self.forget(number)
            raise CutOffError from error
        except BaseException:
            self.forget(number)
            raise
        return number, answer

    def forget(self, number: str) -> None:
        """No answer is waited for any more."""
        self._asked.pop(number, None)

    def tell(self, subject: str, data: bytes = b"") -> bool:
        """Sends a message to which there is no answer; False if nothing can be sent now."""
        if not self._can_send:
            return False
        with suppress(NatsError, OSError):
            self._nc.send(subject, data)
        return True

    @property
    def _can_send(self) -> bool:
        """Else the client would keep what is sent, and send it long after its caller has given up."""
        return self.is_connected and not self._nc.is_clogged

    def _on_answer(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        asked = self._asked.pop(subject.decode().rpartition(".")[2], None)
        if asked is None or (answer := asked[1]).done():
            return
        if not data and (told := headers_of(headers)).get("Status") == "503" and SEQUENCE_HEADER not in told:
            answer.set_exception(NotThereError())
            answer.exception()
        else:
            answer.set_result(Answer(data, headers))

    async def api(self, subject: str, body: Mapping[str, Any] | None = None, seconds: float = _ANSWER_TIMEOUT) -> Any:
        """An answer of JetStream's own.

        Raises:
            RefusedError: it is an error.
        """
        data = b"" if body is None else json.dumps(body).encode()
        answer = json.loads((await self.ask(f"$JS.API.{subject}", data, seconds=seconds)).data)
        if "error" in answer:
            raise RefusedError(answer["error"])
        return answer

    async def publish(
        self, subject: str, data: bytes, headers: dict[str, str] | None = None, seconds: float = _ANSWER_TIMEOUT
    ) -> int:
        """Stores a message in the stream, once asked; its sequence number."""
        answer = json.loads((await self.ask(subject, data, headers, seconds)).data)
        if "error" in answer:
            raise RefusedError(answer["error"])
        sequence: int = answer["seq"]
        return sequence

    async def listen(self, subject: str, on_message: OnMessage) -> int:
        """Until ``ignore``, which takes what this gives."""
        return await self._nc.listen(subject, on_message)

    async def ignore(self, subscription: int) -> None:
        await self._nc.ignore(subscription)

    def new_inbox(self) -> str:
        return f"{self._inbox}-{secrets.token_hex(8)}"

    async def patiently(self, call: Callable[[], Awaitable[Any]], what: str) -> Any:
        """Repeats a call that may be repeated, until there is an answer.

        Raises:
            ConnectionLostError: there is none for a minute.
        """
        deadline = self.loop.time() + PATIENCE
        self.hurry()
        while True:
            try:
                return await call()
            except RefusedError as error:
                if not error.passing and error.code != NO_STREAM:
                    raise
                cause: Exception = error
                if error.code == NO_STREAM:
                    await self.look_for_stream()
            except NotThereError as error:
                cause = error
                await self.look_for_stream()
            except (TimedOutError, CutOffError) as error:
                cause = error
            if self.loop.time() > deadline or self._nc.is_closed:
                self.lost(what, cause)
            self.keep_hurrying()
            await asyncio.sleep(0.1)

    def hurry(self) -> None:
        """Somebody wants an answer: a server that was away for long is looked for now."""
        if not self.is_connected:
            self._hurried_at = self.loop.time()
            self._nc.hurry()

    def keep_hurrying(self) -> None:
        """While somebody still waits there is an attempt each second, though the pauses between them grow."""
        now = self.loop.time()
        if not self.is_connected and now >= self._hurried_at + _HURRIED_FOR:
            self._hurried_at = now
            self._nc.try_now()

    @property
    def connections(self) -> int:
        """How many there were, one after the other: what is sent on one arrives in order."""
        return 1 + int(self._nc.stats["reconnects"])

    @property
    def is_connected(self) -> bool:
        return bool(self._nc.is_connected)

    @property
    def away_since(self) -> datetime | None:
        """Since when there has been no connection; None while there is one, or if it was closed here."""
        return None if self.is_connected or self._closing is not None else self._nc.away_since

    @property
    def is_closed(self) -> bool:
        """Whether the client has given up."""
        return self._nc.is_closed

    @contextmanager
    def told_as(self, what: str) -> Iterator[None]:
        """Raises what goes wrong within it as callers see it."""
        try:
            yield
        except (RefusedError, NotThereError, TimedOutError, CutOffError) as error:
            raise failed(what, error) from error

    def check(self, what: str) -> None:
        """Raises ``ConnectionLostError`` if the client has given up."""
        if self._nc.is_closed:
            self.lost(what, NotSentError())

    def lost(self, what: str, cause: BaseException) -> NoReturn:
        told = f"no answer from {self._where} for {PATIENCE:.0f} seconds"
        if isinstance(cause, RefusedError):
            told = f"the server refuses ({cause}) what it did not answer before"
        if self._nc.is_closed:
            last = self._nc.last_error
            told = f"the connection to {self._where} is closed for good{'' if last is None else f' ({_text(last)})'}"
        raise ConnectionLostError(f"{what}: {told}, and the outcome is unknown") from cause

    # -- what the client tells -----------------------------------------------------------------------------------------

    async def _on_error(self, error: Exception) -> None:
        text = str(error)
        refused = _REFUSED_SUBJECT.search(text)
        if refused:
            self._refuse(refused[1], text)
        elif self._inbox or isinstance(error, ConnectionError) or not _UNWELCOME.search(text):
            _logger.debug("the NATS client says: %s", text)
        elif not self._refused.done():
            self._refused.set_result(error)  # type: ignore[arg-type]

    def _refuse(self, told: str, text: str) -> None:
        """The client tells the subject in lower case."""
        if self._inbox and told.startswith(self._inbox.lower()):
            self._deafness = (
                f"the user of this connection may not listen on the subject {self._inbox!r}, where answers come "
                f"({text}). Give it the permission, or name one that it has with connect={{'inbox_prefix': ...}}"
            )
            self._fail_all(StorageUnavailableError(self._deafness))
            return
        subjects = {
            subject for asked, _ in self._asked.values() for subject in asked if subject.lower() == told.lower()
        }
        subject = next(iter(subjects), told)
        error = StorageUnavailableError(
            f"the user of this connection may not touch the subject {subject!r} ({text}). Give it the permission, or "
            "use another mailbox"
        )
        for number, (asked, answer) in list(self._asked.items()):
            if asked & subjects and not answer.done():
                answer.set_exception(error)
                answer.exception()
                del self._asked[number]

    @property
    def packed_weight(self) -> int:
        """Bytes of snapshots of all mailboxes that are followed, more or less."""
        return sum(replica.packed_weight for replica in self.replicas.values())

    async def _on_reconnected(self) -> None:
        self._note_largest()
        self._deafness = ""
        self._fail_all(CutOffError())
        for call in list(self.on_reconnect):
            call()

    def _on_closed(self) -> None:
        self._fail_all(CutOffError())
        for name in self.replicas:
            self.notifier.wake(name, 1 << 30)  # to be told
            self.notifier.changed((name,))

    def _fail_all(self, error: Exception) -> None:
        for _, answer in self._asked.values():
            if not answer.done():
                answer.set_exception(error)
                answer.exception()
        self._asked.clear()


def _new_client() -> LinkClient:
    """One that connects as this platform can."""
    if IN_PYODIDE:
        from .websocket import PageClient

        return PageClient()
    return LinkClient()


def _identity(value: Any) -> str:
    """Of an option: equal texts are the same."""
    return repr(value) if isinstance(value, str | bytes | int | float | None) else f"{type(value)} {id(value)}"


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def failed(what: str, error: Exception) -> MailboxError:
    """An error of the server's or the connection's as callers see it."""
    if isinstance(error, MailboxError):
        return error
    if isinstance(error, RefusedError):
        return error.meaning(what)
    return ConnectionLostError(f"{what}: the connection to the server was lost")
