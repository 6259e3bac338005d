"""The public names of Python and JavaScript side by side, and what only one of them has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from . import javascript, python
from .pairs import Pairs

WHERE: Final = "tools/public_api/pairs.py"

REST: Final = "Only in JavaScript"
GROUPS: Final = (*python.GROUPS, REST)

_BLOCKS: Final = {"[Symbol.asyncDispose]": "`await using`", "[Symbol.dispose]": "`using`"}
"""What has which member, in JavaScript."""


class UnpairedError(Exception):
    """A name has no counterpart and nothing says why, or an entry of the map is of no use."""


@dataclass(frozen=True)
class Row:
    group: str
    python: str
    javascript: str
    note: str = ""


def camel(name: str) -> str:
    """How JavaScript writes a Python name. Constants and classes stay as they are."""
    first, *rest = name.split("_")
    return name if name.isupper() else first + "".join(word[:1].upper() + word[1:] for word in rest)


def rows(
    python_names: Iterable[python.PublicName], javascript_names: Iterable[javascript.PublicName], pairs: Pairs
) -> list[Row]:
    """A row for each name and each method, in groups.

    Raises:
        UnpairedError: everything that does not fit, one per line, each with what to do.
    """
    return _Matching({name.name: name for name in javascript_names}, pairs).rows(python_names)


@dataclass
class _Matching:
    names: Mapping[str, javascript.PublicName]
    pairs: Pairs
    used: set[str] = field(default_factory=set)
    """Keys of the map that were used."""
    matched: set[str] = field(default_factory=set)
    """JavaScript names that have a row."""
    everywhere: dict[str, dict[str, None]] = field(default_factory=dict)
    """Members that many Python classes have and no JavaScript class has, by the reason."""
    problems: list[str] = field(default_factory=list)

    def rows(self, python_names: Iterable[python.PublicName]) -> list[Row]:
        listed = python.in_order(python_names)
        known = {name.value for name in listed if name.is_class}
        found = [row for name in listed for row in self._rows_of(name, known)]
        for why, members in self.everywhere.items():
            found.append(Row(python.VALUES, f"{', '.join(members)} of every value", "", why))
        found += self._rest()
        self._look_for_useless_keys()
        if self.problems:
            raise UnpairedError("\n".join(self.problems))
        return sorted(found, key=lambda row: GROUPS.index(row.group))

    # -- one name ------------------------------------------------------------------------------------------------------

    def _rows_of(self, name: python.PublicName, known: set[type]) -> list[Row]:
        other = self.names.get(self._renamed(name.name, "") or camel(name.name))
        group = python.group_of(name)
        if other is None:
            shown = f"`{name.name}{_python_call(name.call) if not name.is_class else ''}`"
            return [Row(group, shown, "", self._why_only_python(name.name, ""))]
        self.matched.add(other.name)
        if not name.is_class:
            return [self._row_of_call(group, name.name, name.name, name.call, other.name, other.parameters)]
        return self._rows_of_class(group, name, other, known)

    def _rows_of_class(
        self, group: str, name: python.PublicName, other: javascript.PublicName, known: set[type]
    ) -> list[Row]:
        inherited = {
            member.name for base in name.value.__mro__[1:] if base in known for member in python.members_of(base)
        }
        ours = {member.name: member for member in name.members if member.name not in inherited}
        theirs = {member.name: member for member in other.members if not member.name.startswith("[")}
        notes: dict[str, list[str]] = {}
        rows_of_methods: list[Row] = []
        for member in ours.values():
            key = f"{name.name}.{member.name}"
            wanted = self._renamed(key, member.name) or camel(member.name)
            counterpart = theirs.pop(wanted, None)
            if counterpart is not None:
                if member.call is not None:
                    rows_of_methods.append(
                        self._row_of_call(
                            group,
                            key,
                            _shown(name, member),
                            member.call,
                            _shown(other, counterpart),
                            counterpart.parameters,
                        )
                    )
            elif wanted in self.names:  # a function instead of a method
                self.matched.add(wanted)
                function = self.names[wanted]
                rows_of_methods.append(self._row_of_call(group, key, key, member.call, wanted, function.parameters))
            else:
                shown = f"`{member.name}{'' if member.call is None else '()'}`"
                why = self._why_only_python(key, member.name)
                if key not in self.pairs.only_python:
                    self.everywhere.setdefault(why, {})[shown] = None
                else:
                    notes.setdefault(f"only in Python: {why}", []).append(shown)
        for left in theirs.values():
            brackets = "" if left.parameters is None else "()"
            why = self._why_only_javascript(f"{name.name}.{left.name}", left.name)
            notes.setdefault(f"only in JavaScript: {why}", []).append(f"`{left.name}{brackets}`")
        note = [f"{', '.join(names)} {where}" for where, names in notes.items()]
        note += self._differences_in_construction(name, other)
        first = Row(group, _python_class(name, ours), _javascript_class(other), "; ".join(note))
        return [first, *_row_of_blocks(group, name, other), *rows_of_methods]

    def _differences_in_construction(self, name: python.PublicName, other: javascript.PublicName) -> list[str]:
        if name.call is None or other.parameters is None:
            return []
        return self._differences(name.name, name.call, other.parameters)

    def _row_of_call(
        self,
        group: str,
        key: str,
        shown: str,
        call: python.Call | None,
        other_shown: str,
        parameters: Sequence[javascript.Parameter] | None,
    ) -> Row:
        return Row(
            group,
            f"`{shown}{_python_call(call)}`",
            f"`{other_shown}{_javascript_call(parameters)}`",
            "; ".join(self._differences(key, call, parameters or ())),
        )

    def _differences(self, key: str, call: python.Call | None, parameters: Sequence[javascript.Parameter]) -> list[str]:
        theirs = [name for one in parameters for name in (one.options if one.options is not None else (one.name,))]
        notes = []
        for one in call.parameters if call else ():
            wanted = self._renamed(f"{key}.{one.name}", one.name)
            found = next((name for name in (camel(one.name), wanted) if name in theirs), None)
            if found is None:
                why = self._why_only_python(f"{key}.{one.name}", one.name)
                notes.append(f"`{one.name}` only in Python: {why}")
            else:
                theirs.remove(found)
        for name in theirs:
            why = self._why_only_javascript(f"{key.rpartition('.')[2]}.{name}", name)
            notes.append(f"`{name}` only in JavaScript: {why}")
        return notes

    def _rest(self) -> list[Row]:
        """What else JavaScript has: types of options, which Python spells out in calls, and names with a reason."""
        calls = [one for name in self.names.values() for one in name.parameters or ()]
        calls += [one for name in self.names.values() for member in name.members for one in member.parameters or ()]
        options = {one.type for one in calls if one.type is not None}
        left = [name for name in self.names if name not in self.matched]
        types = [f"`{name}`" for name in left if name in options]
        found = [
            Row(REST, "", f"`{name}`", self._why_only_javascript(name, "")) for name in left if name not in options
        ]
        why = "the types of the options above, which are keyword arguments in Python"
        return [*found, *([Row(REST, "", ", ".join(types), why)] if types else [])]

    # -- the map -------------------------------------------------------------------------------------------------------

    def _renamed(self, key: str, last: str) -> str | None:
        return self._said(self.pairs.renamed, "renamed", key, last)

    def _why_only_python(self, key: str, last: str) -> str:
        why = self._said(self.pairs.only_python, "only_python", key, last)
        if why is None:
            self.problems.append(
                f"Python has {key}, and JavaScript no {camel(key.rpartition('.')[2])}: add it there, or to `renamed` "
                f"or `only_python` in {WHERE}"
            )
        return why or ""

    def _why_only_javascript(self, key: str, last: str) -> str:
        why = self._said(self.pairs.only_javascript, "only_javascript", key, last)
        if why is None:
            self.problems.append(
                f"JavaScript has {key}, and nothing in Python is called that: add it there, or to `renamed` or "
                f"`only_javascript` in {WHERE}"
            )
        return why or ""

    def _said(self, said: Mapping[str, str], table: str, key: str, last: str) -> str | None:
        for candidate in (key, f"*.{last}"):
            if candidate in said:
                self.used.add(f"{table}[{candidate!r}]")
                return said[candidate]
        return None

    def _look_for_useless_keys(self) -> None:
        tables = {
            "renamed": self.pairs.renamed,
            "only_python": self.pairs.only_python,
            "only_javascript": self.pairs.only_javascript,
        }
        for table, said in tables.items():
            for key in said:
                if f"{table}[{key!r}]" not in self.used:
                    self.problems.append(
                        f"{table}[{key!r}] says nothing about the code as it is: remove it from {WHERE}"
                    )


# -- how things are shown ----------------------------------------------------------------------------------------------


def _shown(owner: python.PublicName | javascript.PublicName, member: python.Member | javascript.Member) -> str:
    """Methods of ``Mailbox`` are shown without the class."""
    return member.name if owner.name == "Mailbox" else f"{owner.name}.{member.name}"


def _python_call(call: python.Call | None) -> str:
    if call is None:
        return ""
    names: list[str] = []
    for one in call.parameters:
        if one.kind is one.KEYWORD_ONLY and "*" not in names:
            names.append("*")
        names.append(one.name)
    return f"({', '.join(names)})"


def _javascript_call(parameters: Sequence[javascript.Parameter] | None) -> str:
    if parameters is None:
        return ""
    names = [one.name if one.options is None else f"{{{', '.join(one.options)}}}" for one in parameters]
    return f"({', '.join(names)})"


def _python_class(name: python.PublicName, ours: Mapping[str, python.Member]) -> str:
    data = [member.name for member in ours.values() if member.call is None]
    constructed = not name.is_class or _is_value(name)
    call = "" if constructed else _python_call(name.call)
    taken = [one.name for one in name.call.parameters] if call and name.call else []
    return _with_fields(name.name + call, [one for one in data if one not in taken])


def _is_value(name: python.PublicName) -> bool:
    return hasattr(name.value, "__dataclass_fields__")


def _javascript_class(name: javascript.PublicName) -> str:
    data = [one.name for one in name.members if one.parameters is None]
    taken = [given for one in name.parameters or () for given in one.options or (one.name,)]
    return _with_fields(name.name + _javascript_call(name.parameters), [one for one in data if one not in taken])


def _with_fields(name: str, fields: Sequence[str]) -> str:
    return f"`{name}`" + (f": `{', '.join(fields)}`" if fields else "")


def _row_of_blocks(group: str, name: python.PublicName, other: javascript.PublicName) -> list[Row]:
    """How either is closed at the end of a block."""
    ours = "`async with`" if hasattr(name.value, "__aenter__") else ""
    theirs = next((_BLOCKS[member.name] for member in other.members if member.name in _BLOCKS), "")
    owner = "" if name.name == "Mailbox" else f"`{name.name}`: "
    return [Row(group, owner + ours, owner + theirs)] if ours or theirs else []
