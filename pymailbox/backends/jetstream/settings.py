"""What the stream is to be like, and whether one that is there is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ...contract.errors import StorageUnavailableError

LEAST_VERSION: Final = (2, 12, 0)
"""Of the server: atomic batches are of it."""

_ALWAYS: Final[Mapping[str, Any]] = {
    "storage": "file",
    "retention": "limits",
    "discard": "new",
    "max_consumers": -1,
    "max_msgs": -1,
    "max_age": 0,
    "max_msgs_per_subject": -1,
    "max_msg_size": -1,
    "allow_direct": True,
    "allow_rollup_hdrs": True,
    "allow_atomic": True,
}
"""What every stream of ours has."""

_NEVER: Final = ("sealed", "deny_delete", "deny_purge", "no_ack", "allow_msg_ttl", "mirror", "sources", "republish")
_NEVER_TOO: Final = ("subject_transform", "subject_delete_marker_ttl", "discard_new_per_subject")
"""What none of them may have."""


def wanted(stream: str, replicas: int | None) -> dict[str, Any]:
    """The configuration that a stream is created with."""
    return {
        "name": stream,
        "subjects": [f"{stream}.>"],
        "num_replicas": replicas or 1,
        "max_bytes": -1,
        "duplicate_window": 120_000_000_000,
        **_ALWAYS,
    }


def differences(config: Mapping[str, Any], stream: str, replicas: int | None) -> list[str]:
    """In which settings a stream that is there differs from ours; ``max_bytes`` and a description are its owner's."""
    expected: dict[str, Any] = {"subjects": [f"{stream}.>"], **_ALWAYS}
    if replicas is not None:
        expected["num_replicas"] = replicas
    found = [
        f"{key} is {config.get(key)!r} there and has to be {value!r}"
        for key, value in expected.items()
        if config.get(key, False if value is False else None) != value and not (value == 0 and not config.get(key))
    ]
    found += [f"{key} is {config[key]!r} there and has to be off" for key in _NEVER + _NEVER_TOO if config.get(key)]
    return found


def check_stream(config: Mapping[str, Any], stream: str, replicas: int | None) -> None:
    """Raises ``StorageUnavailableError`` if a stream is not one of ours; it lists each setting."""
    found = differences(config, stream, replicas)
    if found:
        raise StorageUnavailableError(
            f"the stream {stream!r} on the server is in another shape than a mailbox's, and is left as it is: "
            f"{'; '.join(found)}. Name another stream with ?stream=NAME, or change or delete that one"
        )


def check_version(version: str) -> None:
    """Raises ``StorageUnavailableError`` for a server that is too old."""
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if numbers is None or tuple(map(int, numbers.groups())) < LEAST_VERSION:
        needed = ".".join(map(str, LEAST_VERSION))
        raise StorageUnavailableError(f"the NATS server is {version}, and mailboxes need {needed} or later. Update it")
