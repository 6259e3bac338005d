"""Where a mailbox is: servers, a stream on them, and a name in it."""

from __future__ import annotations

import base64
import re
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

from ...contract.location import Location, check_name, decode

DEFAULT_STREAM: Final = "pymailbox"

_PORTS: Final = {"nats": 4222, "tls": 4222, "ws": 80, "wss": 443}

_FORM: Final = "{scheme}://HOST:PORT/NAME, or {scheme}://HOST:PORT,HOST:PORT/NAME?stream=STREAM&replicas=3"

_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\[\]:@/\s]+)(?::(?P<port>\d{1,5}))?")

_STREAM: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")

MOST_REPLICAS: Final = 5


class Address(NamedTuple):
    """A database: one stream of one server or cluster."""

    servers: tuple[str, ...]
    """Their URLs."""
    stream: str
    replicas: int | None
    """None where the location does not say it: then a stream that is there is taken as it is."""


def parse(location: str, scheme: str, rest: str) -> Location:
    """``nats://HOST:PORT,HOST:PORT/NAME?stream=STREAM&replicas=3``.

    Raises:
        ValueError: it breaks a rule.
    """
    place, _, query = rest.partition("?")
    hosts, _, name = place.partition("/")
    form = _FORM.format(scheme=scheme)
    if "@" in rest:
        # not shown: a password may be in it
        raise ValueError(
            f"location must not hold a user or a password: open_mailbox({form!r}, "
            "connect={'user': ..., 'password': ...}) keeps them out of logs. An '@' of a mailbox's name is %40"
        )
    if query:
        location = f"{location.partition('?')[0]}?..."  # what is behind it may be secret too
    if "#" in rest or "/" in name:
        raise ValueError(f"location {location!r} must look like {form}, with '/', '?' and '#' percent-encoded")
    servers = []
    for host in hosts.split(","):
        found = _HOST.fullmatch(host)
        if found is None:
            raise ValueError(f"location {location!r} has {host!r} where a HOST:PORT should be; it looks like {form}")
        port = int(found["port"] or _PORTS[scheme])
        if not 0 < port < 65536:
            raise ValueError(f"location {location!r} has the port {port}; ports are 1 to 65535")
        servers.append(f"{found['host']}:{port}")
    stream, replicas = _parse_query(location, query)
    database = ",".join(servers) + "?" + urlencode({"stream": stream, **({"replicas": replicas} if replicas else {})})
    return Location(scheme, database, check_name(decode(location, name)) if name else None)


def _parse_query(location: str, query: str) -> tuple[str, int | None]:
    stream, replicas = DEFAULT_STREAM, None
    seen = set()
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in seen:
            raise ValueError(f"location {location!r} has {key!r} twice")
        seen.add(key)
        if key == "stream":
            if not _STREAM.fullmatch(value):
                raise ValueError(
                    f"location {location!r} has the stream {value!r}: a stream's name has 1 to 64 letters, digits, "
                    "'-' and '_'"
                )
            stream = value
        elif key == "replicas":
            if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= MOST_REPLICAS:
                raise ValueError(f"location {location!r} has replicas={value!r}; replicas are 1 to {MOST_REPLICAS}")
            replicas = int(value)
        else:
            raise ValueError(f"location {location!r} has {key!r} in its query; there are stream and replicas")
    return stream, replicas


def address_of(location: Location) -> Address:
    """The database of a location that ``parse`` gave."""
    hosts, _, query = location.database.partition("?")
    values: dict[str, Any] = dict(parse_qsl(query))
    servers = tuple(f"{location.scheme}://{host}" for host in hosts.split(","))
    return Address(servers, values["stream"], int(values["replicas"]) if "replicas" in values else None)


def token_of(name: str) -> str:
    """A mailbox's name as one token of a subject: itself where it can be one."""
    if _PLAIN.fullmatch(name):
        return name
    return "=" + base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def name_of(token: str) -> str | None:
    """The mailbox of a token; None if it is no mailbox's."""
    if not token.startswith("="):
        return token if _PLAIN.fullmatch(token) else None
    try:
        name = base64.urlsafe_b64decode(token[1:] + "=" * (-len(token[1:]) % 4)).decode()
    except ValueError:
        return None
    return name if name and token_of(name) == token else None
