"""Mailboxes on NATS servers, and how the command line lets itself in there."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from .._open import MailboxOpening, list_mailboxes, open_mailbox
from ..contract.location import Location
from .errors import ProblemError, UsageError
from .text import one_line

_TEXTS: Final = {
    "NATS_USER": "user",
    "NATS_PASSWORD": "password",
    "NATS_TOKEN": "token",
    "NATS_CREDS": "user_credentials",
    "NATS_NKEY": "nkeys_seed",
    "NATS_INBOX_PREFIX": "inbox_prefix",
}
"""Variables of the environment that hold what a server wants to know, and what the client calls them."""

_HOW: Final = "NATS_USER and NATS_PASSWORD, NATS_TOKEN, or NATS_CREDS with a file"


class ServerLocation(NamedTuple):
    """A stream on NATS servers, and the mailbox in it if one was named."""

    location: Location

    @property
    def name(self) -> str | None:
        return self.location.name

    @property
    def database(self) -> str:
        """For people."""
        return one_line(self._url(""))

    @property
    def text(self) -> str:
        """For people."""
        return self.named(self.name or "")

    def named(self, name: str) -> str:
        """A mailbox of the stream, for people."""
        return one_line(self._url(quote(name, safe="")))

    def with_name(self, name: str) -> ServerLocation:
        return ServerLocation(self.location._replace(name=name))

    def to_dict(self) -> dict[str, str]:
        """Where it is, for programs."""
        return {"location": self._url("")}

    async def names(self) -> list[str]:
        """The mailboxes of the stream; none if it is not there."""
        return await list_mailboxes(self._url(""), connect=connect_options(os.environ))

    async def names_to_read(self) -> list[str]:
        """As ``names``: whoever may connect may look."""
        return await self.names()

    def opening(self, name: str, *, max_deliveries: int | None = None) -> MailboxOpening:
        """Opens a mailbox of the stream."""
        url = self._url(quote(name, safe=""))
        return open_mailbox(url, max_deliveries=max_deliveries, connect=connect_options(os.environ))

    def opening_to_read(self, name: str) -> MailboxOpening:
        """As ``opening``: whoever may connect may look."""
        return self.opening(name)

    def check_writable(self) -> None:
        """The server says who may write."""

    def _url(self, name: str) -> str:
        hosts, _, query = self.location.database.partition("?")
        return f"{self.location.scheme}://{hosts}/{name}?{query}"


def refuse_passwords(rest: str) -> None:
    """Raises ``UsageError`` where a location seems to hold one, and shows nothing of it."""
    if "@" in rest:
        raise UsageError(
            f"LOCATION must not hold a user or a password: the environment does, {_HOW}. An '@' of a name is %40"
        )


def as_told_here(text: str) -> str:
    """An error of the library, for somebody who cannot pass its options."""
    return text.replace("Check what connect={...} says", f"Check what the environment says: {_HOW}")


def connect_options(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the environment says of how to connect, by the names that NATS's own command line goes by.

    Raises:
        ProblemError: a certificate or a key that it names cannot be read.
    """
    options: dict[str, Any] = {
        option: environment[variable] for variable, option in _TEXTS.items() if environment.get(variable)
    }
    if "inbox_prefix" in options:
        options["inbox_prefix"] = options["inbox_prefix"].encode()
    authority, certificate = environment.get("NATS_CA"), environment.get("NATS_CERT")
    try:
        if authority or certificate:
            options["tls"] = ssl.create_default_context(cafile=authority or None)
        if certificate:
            options["tls"].load_cert_chain(certificate, environment.get("NATS_KEY") or None)
    except OSError as error:
        raise ProblemError(f"what NATS_CA, NATS_CERT and NATS_KEY name cannot be used ({error})") from error
    return options
