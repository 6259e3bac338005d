"""Payloads that are JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

CONTENT_TYPE: Final = "content-type"
JSON_TYPE: Final = "application/json"


def json_payload(value: Any, name: str = "value") -> bytes:
    """A value as JSON in UTF-8.

    Raises:
        TypeError: it holds something that JSON cannot hold.
        ValueError: so it does, a NaN or an infinity, or it holds itself, or it is too deep.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} cannot be written as JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{name} cannot be written as JSON: it is too deep") from None
    # a lone surrogate, which UTF-8 cannot hold, becomes the escape that JSON has for it
    return text.encode("utf-8", "backslashreplace")


def json_headers(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    """Headers that say that the payload is JSON, unless they say what it is already."""
    if headers is None:
        return {CONTENT_TYPE: JSON_TYPE}
    if not isinstance(headers, Mapping) or CONTENT_TYPE in headers:
        return headers  # the verb that takes them says what is wrong
    return {CONTENT_TYPE: JSON_TYPE, **headers}


def parsed(payload: bytes) -> Any:
    """What a payload says.

    Raises:
        ValueError: it is no JSON in UTF-8.
    """
    try:
        return json.loads(payload.decode("utf-8-sig"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is too deep") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
