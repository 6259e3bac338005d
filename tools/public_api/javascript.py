"""The public names of the JavaScript package, as ``javascript.mjs`` reads them from the sources."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Parameter:
    name: str
    options: tuple[str, ...] | None
    """The names in it, if it is an object of options."""
    type: str | None
    """The name of that object's type, if it has one."""


@dataclass(frozen=True)
class Member:
    name: str
    parameters: tuple[Parameter, ...] | None
    """None if it is not a method."""


@dataclass(frozen=True)
class PublicName:
    name: str
    kind: str
    """``class``, ``constant``, ``function``, ``type``, or ``values`` for an interface."""
    parameters: tuple[Parameter, ...] | None
    """For a function, or a class that callers may construct."""
    members: tuple[Member, ...]

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
            tuple(Member(member["name"], _parameters(member["parameters"])) for member in name["members"]),
        )
        for name in json.loads(run.stdout)
    )


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
