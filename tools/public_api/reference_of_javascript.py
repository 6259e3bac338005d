"""The part of the reference that is about JavaScript, from the JSDoc of its sources."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from tools.generated import table

from . import javascript
from .docstrings import markdown, prose
from .javascript import Member, Named, PublicName, Told
from .python import ACTORS, ERRORS, FUNCTIONS, GROUPS, VALUES, VERBS

_OF_ACTORS: Final = ("ask", "Backpressure", "Consumer", "Context", "Handler", "RetryPolicy", "Retry", "Reject")

FULL: Final = ("Mailbox",)
"""Classes whose methods have headings of their own."""


def in_groups() -> list[tuple[str, list[PublicName]]]:
    """All names, by group."""
    names = sorted(javascript.public_names(), key=lambda name: GROUPS.index(_group_of(name)))
    return [(group, list(of_group)) for group, of_group in groupby(names, key=_group_of)]


def heading(name: str) -> str:
    """Unlike Python's of the same name."""
    return f"`{name}` (JavaScript)"


def methods_of(name: PublicName) -> list[Member]:
    return [member for member in name.members if member.parameters is not None]


def headings_of(name: PublicName) -> list[str]:
    """Its own heading, and those of its methods that have one."""
    methods = methods_of(name) if name.name in FULL else []
    return [heading(one) for one in (name.name, *(f"{name.name}.{method.name}" for method in methods))]


def described(name: PublicName) -> list[str]:
    """What is below its heading."""
    return "\n\n".join("\n".join(block) for block in _blocks_of(name)).splitlines()


def _blocks_of(name: PublicName) -> Iterator[list[str]]:
    if name.kind == "type" or (name.kind == "constant" and name.shown):
        yield _fenced(f"type {name.name} = {name.shown}")
    elif name.shown:
        yield _fenced(name.shown)
    if name.base is not None and name.base.endswith("Error"):
        article = "An" if name.base == "Error" else "A"
        yield [f"{article} `{name.base}`{', whose `passing` is true' if name.passes else ''}."]
    yield from _told(name.told)
    if name.making is not None:
        yield from _told(name.making)
    if fields := [member for member in name.members if member.parameters is None]:
        yield table(("field", "", ""), map(_field, fields))
    methods = methods_of(name)
    if name.name in FULL:
        for member in methods:
            yield [f"#### {heading(f'{name.name}.{member.name}')}"]
            yield _fenced(member.shown)
            yield from _told(member.told)
    elif methods:
        yield ["Methods:"]
        yield [line for member in methods for line in _method(member)]


def _group_of(name: PublicName) -> str:
    if name.name in FULL:
        return VERBS
    if name.name in _OF_ACTORS:
        return ACTORS
    if name.name.endswith("Error"):
        return ERRORS
    return FUNCTIONS if name.kind == "function" else VALUES


def _told(told: Told) -> Iterator[list[str]]:
    if told.doc:
        yield markdown(told.doc, "js")
    if told.arguments:
        yield ["Arguments:"]
        yield _items(told.arguments)
    if told.returns:
        yield [f"Returns: {prose(told.returns)}"]
    if told.throws:
        yield ["Throws:"]
        yield _items(told.throws)


def _items(named: Sequence[Named]) -> list[str]:
    names = [", ".join(f"`{part}`" for part in one.name.split(" | ")) for one in named]
    return [f"- {name}: {prose(one.text)}" if one.text else f"- {name}" for name, one in zip(names, named, strict=True)]


def _field(member: Member) -> tuple[str, str, str]:
    name = f"`{member.name}{'?' if member.optional else ''}`"
    return name, f"`{member.shown}`" if member.shown else "", prose(member.told.doc)


def _method(member: Member) -> Iterator[str]:
    first, *rest = "\n\n".join("\n".join(block) for block in _told(member.told)).splitlines()
    yield f"- `{member.shown}`: {first}"
    yield from (textwrap.indent(line, "  ") for line in rest)


def _fenced(code: str) -> list[str]:
    return ["```ts", code, "```"]
