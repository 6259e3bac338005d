"""The public names of the JavaScript package, as ``javascript.mjs`` reads them from the sources."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Parameter:
    name: str
    options: tuple[str, ...] | None
    """The names in it, if it is an object of options."""
    type: str | None
    """The name of that object's type, if it has one."""


@dataclass(frozen=True)
class Named:
    """An argument, or an error, and what is said of it."""

    name: str
    text: str


@dataclass(frozen=True)
class Told:
    """What the JSDoc says."""

    doc: str = ""
    arguments: tuple[Named, ...] = ()
    returns: str = ""
    throws: tuple[Named, ...] = ()


@dataclass(frozen=True)
class Member:
    name: str
    parameters: tuple[Parameter, ...] | None
    """None if it is not a method."""
    shown: str = ""
    """A method's signature; of anything else its type, if that is written."""
    optional: bool = False
    told: Told = Told()


@dataclass(frozen=True)
class PublicName:
    name: str
    kind: str
    """``class``, ``constant``, ``function``, ``type``, or ``values`` for an interface."""
    parameters: tuple[Parameter, ...] | None
    """For a function, or a class that callers may construct."""
    members: tuple[Member, ...]
    shown: str = ""
    """Its signature, or what a type is; empty for a class that callers do not construct."""
    base: str | None = None
    """The class that it extends."""
    passes: bool = False
    """Whether such an error is passing."""
    told: Told = Told()
    making: Told | None = None
    """What is said of a class's constructor."""

    def __str__(self) -> str:
        return self.name


@cache
def public_names() -> tuple[PublicName, ...]:
    """All of them, in the order of ``js/index.js`` and then of the inspector."""
    script = Path(__file__).with_name("javascript.mjs")
    run = subprocess.run(["node", script], stdout=subprocess.PIPE, check=True, text=True, encoding="utf-8")
    return tuple(
        PublicName(
            name["name"],
            name["kind"],
            _parameters(name["parameters"]),
            tuple(map(_member, name["members"])),
            name["shown"],
            name["base"],
            name["passes"],
            _told(name["told"]),
            name["making"] and _told(name["making"]),
        )
        for name in json.loads(run.stdout)
    )


def _member(member: dict[str, Any]) -> Member:
    parameters = _parameters(member["parameters"])
    return Member(member["name"], parameters, member["shown"], member["optional"], _told(member["told"]))


def _told(told: dict[str, Any]) -> Told:
    named = (tuple(Named(one["name"], one["text"]) for one in told[part]) for part in ("arguments", "throws"))
    arguments, throws = named
    return Told(told["doc"], arguments, told["returns"], throws)


def _parameters(parameters: list[dict[str, object]] | None) -> tuple[Parameter, ...] | None:
    if parameters is None:
        return None
    return tuple(
        Parameter(
            str(one["name"]),
            tuple(map(str, one["fields"])) if isinstance(one["fields"], list) else None,
            None if one["type"] is None else str(one["type"]),
        )
        for one in parameters
    )
