"""Keys and files of credentials with which a client signs, checked before nats-py reads them."""

from __future__ import annotations

import re
from collections import UserString
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from ...contract.errors import MissingImportError
from ...contract.location import IN_PYODIDE

_KEYS: Final = ("user_credentials", "nkeys_seed", "nkeys_seed_str")
"""What nats-py's `connect` takes that signs with a key."""

_LINES: Final = ("BEGIN NATS USER JWT", "BEGIN USER NKEY SEED")
"""In a file of credentials."""

_SECRET: Final = re.compile(r"[\r\n]|S[A-Z2-7]{40}|eyJ[\w-]{20}")
"""What is in a file of credentials or of a seed, and in no file's name: lines, a seed, a token."""


def check_keys(options: Mapping[str, Any]) -> None:
    """Whether what nats-py needs is here, if somebody connects with keys.

    Raises:
        StorageUnavailableError: it says what to install.
        ValueError: a file of credentials or of a seed is not there, or is none.
    """
    given = next((name for name in _KEYS if options.get(name) is not None), None)
    if given is None:
        return
    if find_spec("nkeys") is not None:
        if given == "nkeys_seed":
            _read(options[given], "nkeys_seed in connect must name a file of a seed")
        elif given == "user_credentials":
            _check_credentials(options[given])
        return
    how = "pip install 'nats-py[nkeys]'"
    if IN_PYODIDE:
        how = (
            "await micropip.install([URL, 'pynacl']), where URL is that of a wheel which you have made, as PyPI has "
            "none: pip wheel --no-deps nkeys"
        )
    raise MissingImportError(f"connect={{{given!r}: ...}} needs the package nkeys. Install it, with {how}")


def _check_credentials(given: Any) -> None:
    if not isinstance(given, tuple):
        read_credentials(given)
        return
    named = "user_credentials in connect must name a file of credentials, or two files"
    if len(given) != 2:
        raise ValueError(f"{named}, not {len(given)}")
    for file in given:
        _read(file, named)


def read_credentials(given: Any) -> str:
    """What is in a file of credentials, as nats-py takes it. It is not to read the file itself: it looks for the first
    line until that comes, and lets nothing else run meanwhile.

    Raises:
        ValueError: the file is not there, or is none.
    """
    named = "user_credentials in connect must name a file of credentials"
    text = given.data if isinstance(given, UserString) else _read(given, named).decode(errors="replace")
    if not all(line in text for line in _LINES):
        where = "it" if isinstance(given, UserString) else repr(str(given))
        raise ValueError(f"{named}: there is no NATS USER JWT or no USER NKEY SEED in {where}")
    return str(text)


def _read(file: Any, named: str) -> bytes:
    """What is in a file, or a ``ValueError`` that begins with what has ``named`` it. Whoever gives a secret and not the
    name of its file must not find it in a log.
    """
    try:
        return Path(file).read_bytes()
    except (OSError, TypeError, ValueError) as error:
        told = f"{error.strerror}: {str(file)!r}" if isinstance(error, OSError) else str(error)
    if _SECRET.search(str(file)):
        told = "this is no name of one, but what may be in it"
    raise ValueError(f"{named}: {told}")
