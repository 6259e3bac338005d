"""The lines of an export: a head that names the format, one line a message, and an end that counts them.

Each is a JSON object. A message's has its id, bytes, priority and counts, and whatever else is known of it:
``headers``, ``due``, ``failures``, ``suspect``, ``error`` and, for a dead letter, ``dead`` with ``reason`` and
``died_at``. Behind the messages come the ids that stay known, with ``known_id`` and ``until``.
"""

from __future__ import annotations

import binascii
import json
import reprlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from ..contract.archive import Death, Remembered, WholeMessage
from ..contract.arguments import storable
from ..contract.headers import pack_headers, unpack_headers
from ..contract.limits import LARGEST_COUNT, LARGEST_MESSAGE
from ..contract.moments import milliseconds, moment
from ..contract.values import MessagePriority, MessageStatus

FORMAT: Final = "pymailbox-export"
VERSION: Final = 1

_REQUIRED: Final = ("id", "sender", "payload", "priority", "created_at", "delivery_count")
_OPTIONAL: Final = ("status", "headers", "due", "failures", "suspect", "error", "dead")
_MISSING: Final = object()

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


class LineError(ValueError):
    """What is wrong with a line."""


class End(NamedTuple):
    """The last line: how many messages came before it, how many of them are dead letters, and how many known ids."""

    messages: int
    dead_letters: int
    known_ids: int = 0


# -- out ---------------------------------------------------------------------------------------------------------------


def head_line() -> bytes:
    return _line({"format": FORMAT, "version": VERSION})


def message_line(message: WholeMessage) -> bytes:
    data: dict[str, Any] = {
        "id": str(message.id),
        "sender": b64encode(message.sender).decode("ascii"),
        "payload": b64encode(message.payload).decode("ascii"),
        "priority": message.priority.name,
        "created_at": moment(message.created_at).isoformat(),
        "status": message.status.name,
        "delivery_count": message.delivery_count,
    }
    if message.headers:
        data["headers"] = dict(unpack_headers(message.headers))
    if message.due is not None:
        data["due"] = moment(message.due).isoformat()
    if message.failures:
        data["failures"] = message.failures
    if message.suspect:
        data["suspect"] = True
    if message.error is not None:
        data["error"] = message.error
    if message.death is not None:
        data["dead"] = {"reason": message.death.reason, "died_at": moment(message.death.died_at).isoformat()}
    return _line(data)


def remembered_line(known: Remembered) -> bytes:
    return _line({"known_id": str(known.id), "until": moment(known.until).isoformat()})


def end_line(end: End) -> bytes:
    counts = end._asdict()
    if not end.known_ids:  # in most mailboxes there are none
        del counts["known_ids"]
    return _line({"end": counts})


def _line(data: Mapping[str, Any]) -> bytes:
    # in ASCII, so that a text with a lone surrogate can be written as well
    return json.dumps(data, separators=(",", ":")).encode("ascii") + b"\n"


# -- in ----------------------------------------------------------------------------------------------------------------


def check_head(line: bytes) -> None:
    """Raises ``LineError`` if this is not the head of a file that this version can read."""
    try:
        data = _object(line)
    except LineError as error:
        raise LineError(f"this is not an export of a mailbox: {error}") from None
    if data.get("format") != FORMAT:
        raise LineError(f'this is not an export of a mailbox: it does not begin with {{"format": "{FORMAT}", …}}')
    version = data.get("version")
    if type(version) is int and version > VERSION:
        raise LineError(
            f"the export has version {version}, written by a newer pymailbox; this one knows version {VERSION}. "
            "Install a newer pymailbox"
        )
    if version != VERSION or type(version) is not int:
        raise LineError(f"the export's version is {_short.repr(version)}; this pymailbox knows version {VERSION}")


def read_line(line: bytes) -> WholeMessage | Remembered | End:
    """A line after the head.

    Raises:
        LineError: it is broken.
    """
    data = _object(line)
    if "end" in data:
        return _read_end(data)
    if "known_id" in data:
        return _read_remembered(data)
    missing = [name for name in _REQUIRED if name not in data]
    if missing:
        raise LineError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    for name in data:
        if name not in _REQUIRED and name not in _OPTIONAL:
            raise LineError(f"{_short.repr(name)} is not a field of a message; is the file from a newer version?")
    field = _Fields(data)
    dead = data.get("dead")
    sender, payload = field.read("sender", _read_bytes), field.read("payload", _read_bytes)
    headers = field.read("headers", pack_headers, b"")
    if len(sender) + len(payload) + len(headers) > LARGEST_MESSAGE:
        raise LineError(f"sender, payload and headers hold more than {LARGEST_MESSAGE} bytes (64 MiB) together")
    return WholeMessage(
        field.read("id", _read_id),
        sender,
        payload,
        field.read("priority", MessagePriority.from_dict),
        field.read("created_at", _read_time),
        field.read("delivery_count", _read_count),
        field.read("status", MessageStatus.from_dict, MessageStatus.QUEUED),
        field.read("due", _read_time, None),
        field.read("failures", _read_count, 0),
        field.read("suspect", _read_flag, default=False),
        field.read("error", _read_text, None),
        None if dead is None else _read_death(dead),
        headers,
    )


class _Fields:
    """The fields of an object; their names go before what is wrong with them."""

    def __init__(self, data: Mapping[str, Any], where: str = "") -> None:
        self._data = data
        self._where = where

    def read(self, name: str, reader: Callable[[Any], Any], default: Any = _MISSING) -> Any:
        value = self._data.get(name, _MISSING)
        if default is not _MISSING and (value is _MISSING or value is None):
            return default
        if value is _MISSING:
            raise LineError(f"{self._where}{name} is missing")
        try:
            return reader(value)
        except LineError as error:
            raise LineError(f"{self._where}{name} {error}, not {_short.repr(value)}") from None
        except (TypeError, ValueError) as error:
            raise LineError(f"{self._where}{name}: {error}") from None


def _object(line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise LineError(f"it is not UTF-8, at byte {error.start + 1} of the line") from None
    except json.JSONDecodeError as error:
        raise LineError(f"it is not JSON: {error.msg}, at column {error.colno}") from None
    except (RecursionError, ValueError):  # of a number with thousands of digits
        raise LineError("it is not JSON that can be read") from None
    if not isinstance(data, dict):
        raise LineError("it is not a JSON object")
    return data


def _read_end(data: Mapping[str, Any]) -> End:
    counts = data["end"]
    if not isinstance(counts, dict) or len(data) > 1:
        raise LineError("end must be an object with messages and dead_letters, and nothing else")
    field = _Fields(counts, "end.")
    return End(
        field.read("messages", _read_count),
        field.read("dead_letters", _read_count),
        field.read("known_ids", _read_count, 0),
    )


def _read_remembered(data: Mapping[str, Any]) -> Remembered:
    if data.keys() != {"known_id", "until"}:
        raise LineError("a known id must have known_id and until, and nothing else")
    field = _Fields(data)
    return Remembered(field.read("known_id", _read_id), field.read("until", _read_time))


def _read_death(dead: Any) -> Death:
    if not isinstance(dead, dict):
        raise LineError(f"dead must be an object with reason and died_at, not {_short.repr(dead)}")
    field = _Fields(dead, "dead.")
    return Death(field.read("reason", _read_text), field.read("died_at", _read_time))


def _read_id(value: Any) -> UUID:
    try:
        return UUID(value)
    except (AttributeError, TypeError, ValueError):
        raise LineError("must be a UUID") from None


def _read_bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise LineError("must be a string of base64")
    try:
        return b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise LineError("must be base64, complete and with its padding") from None


def _read_time(value: Any) -> int:
    try:
        time = milliseconds(datetime.fromisoformat(value))
        moment(time)  # an offset may move it out of the calendar
    except (OverflowError, TypeError, ValueError):
        raise LineError('must be a time with its offset, such as "2026-01-31T12:00:00+00:00"') from None
    return time


def _read_count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST_COUNT:
        raise LineError("must be a whole number, 0 or more")
    return value


def _read_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise LineError("must be true or false")
    return value


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise LineError("must be a string")
    return storable(value)
