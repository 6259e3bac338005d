"""The public names of a Python module: signatures, members and docstrings.

Signatures and docstrings come from the objects. What Python does not keep, the texts below attributes and aliases, is
read from the sources.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import ModuleType
from typing import Any, Final, ParamSpec, TypeVar

PACKAGE: Final = "pymailbox"

FUNCTIONS: Final = "Functions"
VERBS: Final = "The verbs of a mailbox"
"""``Mailbox`` itself."""
ACTORS: Final = "Actors"
VALUES: Final = "Values and types"
ERRORS: Final = "Errors"
GROUPS: Final = (FUNCTIONS, VERBS, ACTORS, VALUES, ERRORS)

_AWAITED: Final = re.compile(r"^Coroutine\[Any, Any, (.*)\]$", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """How something is called."""

    parameters: tuple[inspect.Parameter, ...]
    result: str
    awaited: bool

    def __str__(self) -> str:
        """As in a stub, without the name."""
        texts, keyword_only = [], False
        for one in self.parameters:
            if one.kind is one.KEYWORD_ONLY and not keyword_only:
                texts.append("*")
            keyword_only = keyword_only or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
            star = "*" if one.kind is one.VAR_POSITIONAL else "**" if one.kind is one.VAR_KEYWORD else ""
            annotation = "" if one.annotation is one.empty else f": {_shown_type(one.annotation)}"
            default = "" if one.default is one.empty else f" = {shown(one.default)}"
            texts.append(f"{star}{one.name}{annotation}{default if annotation else default.replace(' ', '')}")
        return f"({', '.join(texts)})" + (f" -> {self.result}" if self.result else "")


@dataclass(frozen=True)
class Member:
    """An attribute, a property or a method."""

    name: str
    doc: str
    call: Call | None = None
    """None if it is not a method."""
    type: str = ""
    default: str = ""


@dataclass(frozen=True)
class PublicName:
    """One name of a module."""

    name: str
    module: str
    """The file that defines it,"""
    line: int
    """and the line."""
    value: Any
    doc: str
    call: Call | None = None
    """For a function, or a class that callers construct."""
    members: tuple[Member, ...] = ()
    text: str = ""
    """For an alias: what it stands for."""

    @property
    def is_class(self) -> bool:
        return inspect.isclass(self.value)

    @property
    def is_error(self) -> bool:
        return self.is_class and issubclass(self.value, BaseException)


@cache
def public_names(module_name: str) -> tuple[PublicName, ...]:
    """What a module's ``__all__`` lists, in its order."""
    module = importlib.import_module(module_name)
    return tuple(_named(module, name) for name in module.__all__)


def group_of(name: PublicName) -> str:
    """The one of ``GROUPS`` under which pages show a name."""
    if name.name == "Mailbox":
        return VERBS
    if name.module.startswith(f"{PACKAGE}.actors"):
        return ACTORS
    if name.is_error:
        return ERRORS
    return FUNCTIONS if inspect.isfunction(name.value) else VALUES


def in_order(names: Iterable[PublicName]) -> list[PublicName]:
    """By groups, in the order of the sources within each."""
    return sorted(names, key=lambda name: (GROUPS.index(group_of(name)), name.module, name.line))


def _named(module: ModuleType, name: str) -> PublicName:
    value = getattr(module, name)
    where, statement = _origin(module.__name__, name)
    line = statement.lineno
    if inspect.isclass(value):
        return PublicName(
            name, where, line, value, inspect.getdoc(value) or "", _construction(value), members_of(value)
        )
    if inspect.isfunction(value):
        return PublicName(name, where, line, value, inspect.getdoc(value) or "", call_of(value))
    return PublicName(name, where, line, value, _texts(_parsed(where)).get(name, ""), text=_text_of(statement, value))


def _text_of(statement: ast.stmt, value: Any) -> str:
    """What an alias stands for, or the type of a constant."""
    if isinstance(statement, ast.AnnAssign) and not ast.unparse(statement.annotation).endswith("TypeAlias"):
        return re.sub(r"^Final\[(.*)\]$", r"\1", ast.unparse(statement.annotation))
    if isinstance(value, str) or not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
        return type(value).__name__
    return ast.unparse(statement.value)


def aliases_in(names: Iterable[PublicName]) -> list[PublicName]:
    """Aliases of this package that signatures and attributes of these names mention, but that are not public
    themselves."""
    listed = list(names)
    public = {name.name for name in listed}
    found: dict[str, PublicName] = {}
    for name in listed:
        mentioned = [str(one) for one in (name.call, *(member.call for member in name.members)) if one is not None]
        mentioned += [member.type for member in name.members]
        for word in sorted(set(re.findall(r"\b[A-Z]\w+", " ".join(mentioned))) - public - found.keys()):
            alias = _alias(name.module, word)
            if alias is not None:
                found[word] = alias
    return [found[word] for word in sorted(found)]


def _alias(module_name: str, name: str) -> PublicName | None:
    try:
        where, statement = _origin(module_name, name)
    except LookupError:  # not of this package
        return None
    if name not in _targets(statement):
        return None
    alias = _named(importlib.import_module(where), name)
    return None if isinstance(alias.value, TypeVar | ParamSpec) else alias


def call_of(function: Callable[..., Any], *, bound: bool = False) -> Call:
    """How a function is called; a method without the object that it is called on."""
    signature = inspect.signature(function)
    result = "" if signature.return_annotation is signature.empty else _shown_type(signature.return_annotation)
    coroutine = _AWAITED.match(result)
    parameters = tuple(signature.parameters.values())
    return Call(
        parameters[1:] if bound else parameters,
        coroutine[1] if coroutine else result,
        coroutine is not None or inspect.iscoroutinefunction(function),
    )


def _construction(cls: type) -> Call | None:
    """How callers construct it: a value, an error with arguments of its own, or what documents its construction."""
    if issubclass(cls, Enum) or getattr(cls, "_is_protocol", False):
        return None
    made = cls.__dict__.get("__init__")
    if not inspect.isfunction(made):
        return None
    if not (dataclasses.is_dataclass(cls) or issubclass(cls, Exception) or made.__doc__ or cls.__init__.__doc__):
        return None
    return dataclasses.replace(call_of(made, bound=True), result="")


def members_of(cls: type) -> tuple[Member, ...]:
    """What is public in a class and in its base classes in this package, in the order of their sources."""
    members: dict[str, Member] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] == PACKAGE:
            members.update({member.name: member for member in _own_members(cls, base)})
    if issubclass(cls, Coroutine):
        members = {name: member for name, member in members.items() if not hasattr(Coroutine, name)}
    return tuple(members.values())


def _own_members(cls: type, base: type) -> list[Member]:
    texts = _texts(_class_statement(base))
    names = {**inspect.get_annotations(base), **base.__dict__}
    return [
        _member(cls, name, texts.get(name, ""))
        for name in names
        if not name.startswith("_") and (name in texts or _is_documented(base.__dict__.get(name)))
    ]


def _is_documented(value: Any) -> bool:
    return isinstance(value, property | classmethod | staticmethod) or inspect.isfunction(value)


def _member(cls: type, name: str, text: str) -> Member:
    if issubclass(cls, Enum) and name in cls.__members__:
        return Member(name, text, default=repr(cls.__members__[name].value))
    if dataclasses.is_dataclass(cls):
        for field in dataclasses.fields(cls):
            if field.name == name:
                default = "" if field.default is dataclasses.MISSING else shown(field.default)
                return Member(name, text, type=str(field.type), default=default)
    value = inspect.getattr_static(cls, name, None)
    if isinstance(value, property):
        returns = inspect.signature(value.fget).return_annotation if value.fget else ""
        return Member(name, inspect.getdoc(value) or "", type=_shown_type(returns))
    if isinstance(value, classmethod | staticmethod):
        function = value.__func__
        return Member(name, inspect.getdoc(function) or "", call_of(function, bound=isinstance(value, classmethod)))
    if inspect.isfunction(value):
        return Member(name, inspect.getdoc(value) or "", call_of(value, bound=True))
    for base in cls.__mro__:
        if name in inspect.get_annotations(base):
            return Member(name, text, type=_shown_type(inspect.get_annotations(base)[name]))
    return Member(name, text)


# -- the sources -------------------------------------------------------------------------------------------------------


@cache
def _parsed(module_name: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module_name)))


def _class_statement(cls: type) -> ast.ClassDef:
    for node in _parsed(cls.__module__).body:
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            return node
    raise LookupError(f"{cls.__module__} has no class {cls.__name__} at its top")


def _targets(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.AnnAssign):
        return [statement.target.id] if isinstance(statement.target, ast.Name) else []
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return []


def _texts(owner: ast.Module | ast.ClassDef) -> dict[str, str]:
    """The attributes that it assigns or annotates, each with the text that follows it, if any."""
    texts = {name: "" for statement in owner.body for name in _targets(statement)}
    for statement, following in zip(owner.body, owner.body[1:], strict=False):
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            for name in _targets(statement):
                texts[name] = inspect.cleandoc(str(following.value.value))
    return texts


def _origin(module_name: str, name: str) -> tuple[str, ast.stmt]:
    """The module that defines a name, and the statement that does so, through any number of imports.

    Raises:
        LookupError: it is not from this package.
    """
    if module_name.partition(".")[0] != PACKAGE:
        raise LookupError(f"{name} is not of {PACKAGE}")
    for node in _top_level(_parsed(module_name).body):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    package = module_name if _is_package(module_name) else module_name.rpartition(".")[0]
                    source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                    return _origin(source, alias.name)
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in _targets(node):
            return module_name, node
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return module_name, node
    raise LookupError(f"{module_name} does not say where it has {name} from")


def _top_level(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Including those that depend on a condition."""
    for statement in statements:
        yield statement
        if isinstance(statement, ast.If):
            yield from _top_level([*statement.body, *statement.orelse])


def _is_package(module_name: str) -> bool:
    return hasattr(importlib.import_module(module_name), "__path__")


# -- how values are shown ----------------------------------------------------------------------------------------------


def shown(value: Any) -> str:
    """A default, as one would write it."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if inspect.isbuiltin(value) or inspect.isfunction(value):
        return str(value.__name__)
    if not isinstance(value, str | bytes | int | float | tuple | None):
        return "..."
    return repr(value)


def _shown_type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
