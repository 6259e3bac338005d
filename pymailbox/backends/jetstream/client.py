"""nats-py's client, without what a mailbox cannot use."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from typing import Any, Final

from nats.aio.client import DEFAULT_BUFFER_SIZE, Client, RawCredentials, __version__
from nats.aio.transport import TcpTransport
from nats.errors import MaxPayloadError
from nats.protocol.command import hpub_cmd, pub_cmd
from nats.protocol.parser import Parser

from ...contract.errors import StorageUnavailableError
from .credentials import read_credentials
from .wire import OnMessage, QuickParser, log_failure

_TYPES: Final[dict[str, type]] = {
    "_ps": Parser,
    "_subs": dict,
    "_server_info": dict,
    "_server_pool": list,
    "_pending": list,
    "_pending_data_size": int,
    "_max_pending_size": int,
    "_max_payload": int,
    "_sid": int,
    "_status": int,
    **dict.fromkeys(
        (
            *("_transport", "_current_server", "_flush_queue", "_err"),
            *("_reading_task", "_flusher_task", "_ping_interval_task", "_reconnection_task"),
        ),
        type(None),
    ),
}
"""What is used of nats-py's client, which promises none of it, and what that is before it is connected."""

_PARSER_TYPES: Final = {"buf": bytearray, "state": int}
"""The same of its parser."""

_OVERRIDDEN: Final = (
    *("_close", "_attempt_reconnect", "_connect_to_server"),
    *("_process_connect_init", "_process_info", "_process_msg"),
)
"""Coroutines that it has to call."""


_LAST_BYTES = 1.0
"""Seconds in which a connection that is closed can send what it has left."""


_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 10.0
"""Seconds between two rounds of attempts to connect, less a random part of up to a half."""

_LONGEST_FIRST_PAUSE: Final = 0.5
"""The same while the first connection is waited for, which has to be there in time."""

_GROWTH: Final = 1.5
"""By which the next pause is longer: who was away for long hears a little later that the server is back."""


def _others(where: object, types: Mapping[str, type]) -> list[str]:
    """Attributes that are missing, or of another type."""
    return [name for name, kind in types.items() if not isinstance(getattr(where, name, ...), kind)]


def _whole(credentials: Any) -> RawCredentials:
    """What is in a file of credentials, which may just be written anew: then the next attempt may find it."""
    try:
        return RawCredentials(read_credentials(credentials))
    except ValueError as error:
        raise ConnectionError(str(error)) from None


class _Connection(TcpTransport):
    """One socket; another one is made for the next attempt."""

    def writelines(self, payload: Iterable[bytes]) -> None:
        # an event loop's own, from Python 3.12 on, leaves a socket that was just lost in its selector: the next one
        # with the same number would be deaf
        self.write(b"".join(payload))  # type: ignore[no-untyped-call]

    async def wait_closed(self) -> None:
        # the system gives up a network that takes nothing after a quarter of an hour; until then nobody would connect
        try:
            async with asyncio.timeout(_LAST_BYTES):
                await super().wait_closed()  # type: ignore[no-untyped-call]
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Closes it, without what was still to be sent."""
        if self._io_writer is not None:
            self._io_writer.transport.abort()


class LinkClient(Client):
    """Sends nothing later than asked, and passes on what comes in the turn in which it does."""

    def __init__(self) -> None:
        super().__init__()
        parser = QuickParser(self)
        self._check(parser)
        self._ps = self._parser = parser
        self._has_sent = False
        """Whether something was sent since anything came: what follows goes together, at the end of the turn."""
        self._ending: asyncio.Handle | None = None
        self.away_since: datetime | None = None
        """Since when there has been no connection that works; None while there is one."""
        self._attempts = 0
        """To connect, since that has worked or somebody was in a hurry."""
        self._hurried = asyncio.Event()
        self.on_closed: Callable[[], None] | None = None
        """Called when it has ended for good."""

    def _check(self, parser: QuickParser) -> None:
        """Whether this nats-py has what is used of it: without some of that, nothing would ever be heard."""
        wrong = [*_others(self, _TYPES), *_others(parser, _PARSER_TYPES)]
        wrong += [name for name in _OVERRIDDEN if not iscoroutinefunction(getattr(Client, name, None))]
        if wrong:
            raise StorageUnavailableError(
                f"nats-py {__version__} is not made as mailboxes need it ({', '.join(wrong)}). Install one that is, "
                "such as 2.16.0"
            )

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        was_closed = self.is_closed
        try:
            await super()._close(status, do_cbs)
        except asyncio.CancelledError:
            if isinstance(self._transport, _Connection):
                self._transport.abort()
            raise
        except OSError as error:  # of what was still to be sent
            if self._transport is not None:
                self._transport.close()  # type: ignore[no-untyped-call]
            await self._error_cb(error)
        finally:
            if self.is_closed:
                self.away_since = self.away_since or datetime.now(UTC)
            if self.is_closed and not was_closed and self.on_closed is not None:
                self.on_closed()

    async def listen(self, subject: str, on_message: OnMessage) -> int:
        """Calls ``on_message`` with whatever comes on a subject, until ``ignore``; the subscription's number."""
        number: int = self._sid + 1
        self._parser.listeners[b"%d" % number] = on_message
        # with a future nats-py makes no task
        subscription = await self.subscribe(subject, future=asyncio.get_running_loop().create_future())
        assert subscription._id == number
        return number

    async def ignore(self, number: int) -> None:
        """Ends a subscription."""
        self._parser.listeners.pop(b"%d" % number, None)
        subscription = self._subs.get(number)
        if subscription is not None:
            await subscription.unsubscribe()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        listener = self._parser.listeners.get(b"%d" % sid)
        if listener is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            try:
                listener(subject, reply, data, headers or b"")
            except Exception as error:
                log_failure(subject, error)

    async def _process_connect_init(self) -> None:
        self._parser.reset()  # of an attempt that came no further
        await super()._process_connect_init()
        if self._is_first:
            self._came_back()
        connection, reader = self._transport, getattr(self._transport, "_io_reader", None)
        if reader is None or not isinstance(getattr(reader, "_buffer", None), bytearray):
            return  # then nats-py's task has to wake
        feed_data = reader.feed_data

        def feed(data: bytes) -> None:
            # nats-py's task for reading need not wake for this
            data = data if reader._buffer or connection is not self._transport else self._take(data)
            if data:
                feed_data(data)

        reader.feed_data = feed

    def _read_creds_user_jwt(self, creds: Any) -> Any:
        return super()._read_creds_user_jwt(_whole(creds))

    def _read_creds_user_nkey(self, creds: Any) -> bytearray:
        return super()._read_creds_user_nkey(_whole(creds))

    def _take(self, data: bytes) -> bytes:
        """Takes what comes, in the turn in which it does; what is left has to be read."""
        self._has_sent = False
        return self._parser.feed(data) if self.is_connected else data

    @property
    def unsent(self) -> int:
        """Bytes that wait in the connection until the server takes them; to be asked only while there is one."""
        writer = getattr(self._transport, "_io_writer", None)
        return 0 if writer is None else writer.transport.get_write_buffer_size()

    @property
    def is_clogged(self) -> bool:
        """Whether more waits to be sent than may: nobody should send anything again meanwhile."""
        return self._pending_data_size + self.unsent > self._max_pending_size

    def send(self, subject: str, data: bytes, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Sends a message, if possible within the call; nothing in its headers needs to be escaped.

        Raises:
            MaxPayloadError: the server does not take so large a one.
            OSError: the connection is lost.
        """
        if len(data) > self._max_payload:
            raise MaxPayloadError
        if headers is None:
            command = pub_cmd(subject, reply, data)
        else:
            lines = ["NATS/1.0", *(f"{name}: {text}" for name, text in headers.items()), "", ""]
            command = hpub_cmd(subject, reply, "\r\n".join(lines).encode(), data)
        self._pending.append(command)
        self._pending_data_size += len(command)
        if not self._has_sent:
            self._has_sent = True
            self._send_pending()
        elif self._ending is None:
            self._ending = asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._ending, self._has_sent = None, False
        with suppress(OSError):
            self._send_pending()

    def _send_pending(self) -> None:
        if not self._pending or not self.is_connected:
            return
        if self._write(self._pending):
            self._pending, self._pending_data_size = [], 0
        else:
            assert self._flush_queue is not None
            with suppress(asyncio.QueueFull):  # the flusher is at work
                self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    def _write(self, commands: Sequence[bytes]) -> bool:
        """Sends commands within the call; whether this connection can."""
        if not isinstance(self._transport, _Connection):
            return False
        try:
            self._transport.writelines(commands)
        except (RuntimeError, AttributeError, TypeError) as error:  # the event loop's, of a socket that is no more
            raise ConnectionError(f"the connection is lost ({error!r})") from error
        return True

    async def _attempt_reconnect(self) -> None:
        # who asked for it gave up long before, or has sent it again
        self._pending.clear()
        self._pending_data_size = 0
        self.away_since = self.away_since or datetime.now(UTC)
        while True:
            try:
                await super()._attempt_reconnect()
                if self.is_connected:  # else this attempt was cancelled
                    self._came_back()
                return
            except Exception as error:  # which nats-py does not expect: it would never try again
                if self.is_closed or self._reconnection_task is not asyncio.current_task():
                    raise
                self._err = error
                await self._error_cb(error)
                self._status = self.RECONNECTING
                await asyncio.sleep(self.options["reconnect_time_wait"])

    @property
    def _is_first(self) -> bool:
        """Whether no connection was lost so far: the first is waited for, or there."""
        return self._reconnection_task is None

    def _came_back(self) -> None:
        self._attempts, self.away_since = 0, None

    def hurry(self) -> None:
        """Lets the next attempt to connect begin now, and others soon after it."""
        self._attempts = 0
        self.try_now()

    def try_now(self) -> None:
        """Ends a pause; the next ones are as long as they would have been."""
        self._hurried.set()

    async def _pause(self) -> None:
        """Before an attempt: the longer the longer nobody has answered, so that who is offline for hours tries seldom,
        and those who have lost a server do not all come back at once.
        """
        rounds, already_in_this = divmod(self._attempts, len(self._server_pool) or 1)
        self._attempts += 1
        if already_in_this or (self._is_first and not rounds):
            return
        most = _LONGEST_FIRST_PAUSE if self._is_first else _LONGEST_PAUSE
        longest = min(_FIRST_PAUSE * _GROWTH ** min(rounds, 20), most)
        self._hurried.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(longest / 2 if rounds else 0, longest)):
                await self._hurried.wait()

    async def _connect_to_server(self, s: Any) -> None:
        self._end_attempt()
        await self._pause()
        seconds = self.options["connect_timeout"]
        if s.uri.scheme in ("ws", "wss"):
            # its WebSocket takes connect_timeout for something else
            async with asyncio.timeout(seconds):
                await super()._connect_to_server(s)
            return
        s.last_attempt = time.monotonic()
        self._transport = _Connection()  # type: ignore[no-untyped-call]
        await self._transport.connect(s.uri, DEFAULT_BUFFER_SIZE, seconds)

    def _end_attempt(self) -> None:
        """Ends what is left of an attempt that came no further: it would stay open, and read what the next one gets."""
        for task in (self._reading_task, self._flusher_task, self._ping_interval_task):
            if task is not None:
                task.cancel()
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        await super()._process_info(info, initial_connection)
        assert self._current_server is not None
        scheme = self._current_server.uri.scheme
        if scheme in ("ws", "wss"):  # what the server tells of others are addresses for WebSocket, then
            for server in self._server_pool:
                server.uri = server.uri._replace(scheme=scheme)

    def leave(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Sends messages within the call and ends the connection for now; only a page is ever left."""
