"""Writes docs/reference.md from signatures, docstrings, JSDoc and the parser of the command line.

Usage: python -m tools.reference_page
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from pymailbox import Mailbox, MailboxError
from pymailbox.backends.base import EmbeddedMailbox
from pymailbox.cli.arguments import parser
from tools.generated import rewrite, table
from tools.public_api import python
from tools.public_api import reference_of_javascript as javascript
from tools.public_api.docstrings import markdown, prose, summary

PAGE = "reference.md"
TOOL = "reference_page.py"

MODULES: Final = ("pymailbox", "pymailbox.sync", "pymailbox.testing")
WIDEST: Final = 100
"""Characters of a signature on one line."""

TYPES: Final = "Types in these signatures"
JAVASCRIPT: Final = "JavaScript"
COMMAND_LINE: Final = "The command line"

FULL: Final = ("Mailbox",)
"""Classes whose methods have headings of their own."""


def text() -> str:
    """The text between the page's marks."""
    lines = [*_contents()]
    for module in MODULES:
        lines += ["", *_module(module)]
    lines += ["", f"## {TYPES}", "", *_types(), "", f"## {COMMAND_LINE}", "", *_command_line()]
    lines += ["", f"## {JAVASCRIPT}", *_javascript()]
    return "\n".join(["", *lines, "", ""])


def anchor(heading: str) -> str:
    """The name that GitHub gives a heading in an address."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


# -- the contents ------------------------------------------------------------------------------------------------------


def _contents() -> Iterator[str]:
    for module in MODULES:
        yield f"- {_link(module)}"
        for group, names in groupby(python.in_order(python.public_names(module)), key=python.group_of):
            links = [_link(_heading(module, name)) for name in names]
            if group == python.VERBS:
                links += [f"[`{verb.name}`](#{anchor(f'Mailbox.{verb.name}')})" for verb in _verbs()]
            yield f"  - {group}: {', '.join(links)}"
    yield f"- {_link(TYPES)}"
    yield f"- {_link(COMMAND_LINE)}: {', '.join(_link(f'`pymailbox {name}`') for name in _commands())}"
    yield f"- {_link(JAVASCRIPT)}"
    for group, listed in javascript.in_groups():
        headings = [heading for name in listed for heading in javascript.headings_of(name)]
        links = [f"[{heading.partition(' ')[0]}](#{anchor(heading)})" for heading in headings]
        yield f"  - {group}: {', '.join(links)}"


def _link(heading: str) -> str:
    return f"[{heading}](#{anchor(heading)})"


def _heading(module: str, name: python.PublicName) -> str:
    return f"`{f'{module}.{name.name}'.removeprefix('pymailbox.')}`"


def _verbs() -> list[python.Member]:
    return [member for member in python.members_of(Mailbox) if member.call is not None]


# -- a module ----------------------------------------------------------------------------------------------------------


def _module(module: str) -> Iterator[str]:
    yield f"## {module}"
    for name in python.in_order(python.public_names(module)):
        yield from ("", f"### {_heading(module, name)}", "", *_described(name))


def _described(name: python.PublicName) -> Iterator[str]:
    if name.is_class:
        yield from _class(name)
        return
    yield from _fenced(_call(name.name, name.call) if name.call else f"{name.name}: {name.text}")
    yield from ("", *markdown(name.doc))


def _class(name: python.PublicName) -> Iterator[str]:
    base = next((base for base in name.value.__mro__[1:] if base in _classes()), None)
    is_value = hasattr(name.value, "__dataclass_fields__")
    if name.call is not None and not is_value:
        yield from (*_fenced(_call(name.name, name.call)), "")
    if base is not None:
        yield f"A [`{base.__name__}`](#{anchor(base.__name__)}){_passing(name)}."
        yield ""
    is_backend = issubclass(name.value, EmbeddedMailbox)  # the rest of its text, and its methods, are for backends
    yield from [summary(name.doc)] if is_backend else markdown(name.doc)
    if name.call is not None and not is_value and (told := name.value.__init__.__doc__):
        yield from ("", *markdown(textwrap.dedent(told).strip()))
    inherited = {} if base is None else {member.name for member in python.members_of(base)}
    members = [member for member in name.members if member.name not in inherited]
    yield from _attributes([member for member in members if member.call is None])
    yield from _methods(name, [member for member in members if member.call is not None and not is_backend])


def _classes() -> dict[type, python.PublicName]:
    return {name.value: name for module in MODULES for name in python.public_names(module) if name.is_class}


def _passing(name: python.PublicName) -> str:
    passes = issubclass(name.value, MailboxError) and name.value.passing
    return ", whose `passing` is True" if passes else ""


def _attributes(members: Sequence[python.Member]) -> Iterator[str]:
    if not members:
        return
    yield ""
    yield from table(
        ("attribute", "", ""),
        ((f"`{member.name}`", _type(member), prose(member.doc)) for member in members),
    )


def _type(member: python.Member) -> str:
    type_ = re.sub(r"^ClassVar\[(.*)\]$", r"\1", member.type)
    told = f"{type_} = {member.default}" if type_ and member.default else type_ or member.default
    return f"`{told}`" if told else ""


def _methods(name: python.PublicName, members: Sequence[python.Member]) -> Iterator[str]:
    twin = name.name.removeprefix("Sync")
    known = {member.name: member.doc for one in _classes().values() if one.name == twin for member in one.members}
    same = [member.name for member in members if twin != name.name and known.get(member.name) == member.doc]
    if same:
        names = ", ".join(f"`{one}`" for one in same)
        yield from ("", f"As in [`{twin}`](#{anchor(twin)}), without `await`: {names}.")
    listed = [member for member in members if member.name not in same]
    if name.name in FULL:
        for member in listed:
            call = _call(member.name, member.call)
            yield from ("", f"#### `{name.name}.{member.name}`", "", *_fenced(call), "", *markdown(member.doc))
    elif listed:
        yield from ("", "Methods:", "")
        for member in listed:
            yield from _item(_call(member.name, member.call), markdown(member.doc))


def _item(call: str, told: list[str]) -> Iterator[str]:
    """A method in a list: one line, if that is enough."""
    if len(told) == 1 and len(call) <= WIDEST:
        yield f"- `{call}`: {told[0]}"
        return
    first, *fence = _fenced(call) if len(call) > WIDEST else [f"`{call}`"]
    yield f"- {first}"
    yield from (textwrap.indent(line, "  ") for line in (*fence, "", *told))


def _call(name: str, call: python.Call | None) -> str:
    if call is None:
        return name
    return f"{'await ' if call.awaited else ''}{name}{call}"


def _fenced(signature: str) -> list[str]:
    """A signature as code; if it is long, with each parameter on a line of its own."""
    if len(signature) <= WIDEST or "(" not in signature:
        return ["```python", signature, "```"]
    begin, _, rest = signature.partition("(")
    parameters, end = _split(rest)
    return ["```python", f"{begin}(", *(f"    {one}," for one in parameters), f"){end}", "```"]


def _split(text: str) -> tuple[list[str], str]:
    """The parameters before the closing bracket, and what follows it."""
    depth, begin = 0, 0
    found: list[str] = []
    for place, character in enumerate(text):
        if character == ")" and depth == 0:
            return [*found, text[begin:place].strip()], text[place + 1 :]
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            found.append(text[begin:place].strip())
            begin = place + 1
    raise ValueError(f"{text!r} closes no bracket")


# -- the other sections ------------------------------------------------------------------------------------------------


def _types() -> list[str]:
    """Aliases that are not public but appear in signatures."""
    aliases = python.aliases_in(name for module in MODULES for name in python.public_names(module))
    return table(("name", "is", ""), ((f"`{one.name}`", f"`{one.text}`", prose(one.doc)) for one in aliases))


def _commands() -> dict[str, argparse.ArgumentParser]:
    commands = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


def _command_line() -> Iterator[str]:
    yield f"{parser().description} [command-line.md](command-line.md) shows how it is used."
    for name, command in _commands().items():
        yield from ("", f"### `pymailbox {name}`", "", f"{command.description}", "")
        yield from table(("argument", ""), map(_argument, command._actions[1:]))


def _argument(action: argparse.Action) -> tuple[str, str]:
    taken = "|".join(map(str, action.choices)) if action.choices else str(action.metavar or "")
    if not action.option_strings:
        taken = {"?": f"[{taken}]", "*": f"[{taken} …]"}.get(str(action.nargs), taken)
    names = [f"{name} {taken}".strip() if action.nargs != 0 else name for name in action.option_strings]
    return ", ".join(f"`{name}`" for name in names or [taken]), prose(action.help or "")


def _javascript() -> Iterator[str]:
    for _, names in javascript.in_groups():
        for name in names:
            yield from ("", f"### {javascript.heading(name.name)}", "", *javascript.described(name))


def main() -> None:
    rewrite(PAGE, TOOL, text())


if __name__ == "__main__":
    main()
