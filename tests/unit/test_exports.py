"""The public names: existing, documented, listed, and no others."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pymailbox
import pymailbox.testing

PUBLIC = [(module, name) for module in (pymailbox, pymailbox.testing) for name in module.__all__]

CONTRACT = {
    "IndexedDbMailbox",
    "Mailbox",
    "MailboxClosedError",
    "MailboxDepthObserver",
    "MailboxError",
    "MailboxStats",
    "MemoryMailbox",
    "MessagePriority",
    "MessageRecord",
    "MessageStatus",
    "NewMessage",
    "SqliteMailbox",
    "StorageCorruptError",
    "StorageFullError",
    "StorageUnavailableError",
    "UnsupportedError",
    "WrongThreadError",
    "ConnectionLostError",
    "delete_mailbox",
    "list_mailboxes",
    "open_mailbox",
}
"""Names that other programs are written against."""


def test_the_contracts_names_are_public() -> None:
    assert CONTRACT - set(pymailbox.__all__) == set()


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_public_name_is_there(module: Any, name: str) -> None:
    assert getattr(module, name) is not None
    namespace: dict[str, Any] = {}
    exec(f"from {module.__name__} import {name}", namespace)
    assert namespace[name] is getattr(module, name)


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_public_class_or_function_is_documented(module: Any, name: str) -> None:
    value = getattr(module, name)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return
    # a dataclass without a docstring of its own gets its signature for one
    assert (value.__doc__ or "").strip(), f"{name} has no docstring"
    assert not str(value.__doc__).startswith(f"{name}("), f"{name} has no docstring"
    if inspect.isclass(value):
        for member, function in inspect.getmembers(value, inspect.isroutine):
            if not member.startswith("_") and str(getattr(function, "__module__", "")).startswith("pymailbox"):
                assert inspect.getdoc(function), f"{name}.{member} has no docstring"


@pytest.mark.parametrize("module", [pymailbox, pymailbox.testing])
def test_dir_lists_every_public_name(module: Any) -> None:
    assert len(set(module.__all__)) == len(module.__all__)
    assert set(module.__all__) - set(dir(module)) == set()


@pytest.mark.parametrize("module", [pymailbox, pymailbox.testing])
def test_star_import_gives_the_public_names(module: Any) -> None:
    namespace: dict[str, Any] = {}
    exec(f"from {module.__name__} import *", namespace)
    assert set(module.__all__) == set(namespace) - {"__builtins__"}


HIDING = "import sys\nsys.modules[{module!r}] = None\n"

LOOKING = """
import inspect, pkgutil, pydoc
import pymailbox, pymailbox.testing

namespace = {}
exec("from pymailbox import *", namespace)
exec("from pymailbox.testing import *", namespace)
assert "open_mailbox" in namespace and "MemoryMailbox" in namespace and "IndexedDbMailbox" in namespace
assert "SqliteMailbox" not in namespace
assert "SqliteMailbox" not in pymailbox.__all__
assert not hasattr(pymailbox, "SqliteMailbox")
assert getattr(pymailbox, "SqliteMailbox", None) is None
assert "MemoryMailbox" in dict(inspect.getmembers(pymailbox))
assert "MemoryMailbox" in pydoc.render_doc(pymailbox)
modules = pkgutil.walk_packages(pymailbox.__path__, "pymailbox.")
assert "pymailbox.backends.memory.mailbox" in [module.name for module in modules]

# a package of its own in some versions of Pyodide, to be loaded later
for name in ("sqlite3", "_sqlite3"):
    sys.modules.pop(name, None)
assert "SqliteMailbox" in pymailbox.__all__
"""

ASKING = """
import asyncio
import pymailbox

for code in (
    "pymailbox.SqliteMailbox",
    "from pymailbox import SqliteMailbox",
    "from pymailbox.backends.sqlite import SqliteMailbox",
    "asyncio.run(pymailbox.list_mailboxes('sqlite:///never.db'))",
    "asyncio.run(pymailbox.delete_mailbox('inbox'))",
):
    try:
        exec(code)
    except pymailbox.StorageUnavailableError as error:
        assert "sqlite:// is not available here" in str(error), error
        assert "Install one that has it" in str(error), error
    else:
        raise AssertionError(code)
"""


@pytest.mark.parametrize("module", ["sqlite3", "_sqlite3"])
@pytest.mark.parametrize("script", [LOOKING, ASKING], ids=["looking", "asking"])
def test_without_sqlite(module: str, script: str, tmp_path: Path, unmeasured: dict[str, str]) -> None:
    code = HIDING.format(module=module) + script
    environment = unmeasured | {"PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pymailbox' has no attribute 'Inbox'"):
        getattr(pymailbox, "Inbox")  # noqa: B009  mypy knows that it is not there
    with pytest.raises(ImportError):
        importlib.import_module("pymailbox.Inbox")


def test_every_error_has_one_root_and_a_message() -> None:
    for name in pymailbox.__all__:
        value = getattr(pymailbox, name)
        # Retry is no error: handlers raise it, and a mailbox never does
        if inspect.isclass(value) and issubclass(value, Exception) and value is not pymailbox.Retry:
            assert issubclass(value, pymailbox.MailboxError)
            assert str(value()) == (inspect.getdoc(value) or "").partition("\n")[0]
            assert str(value("what happened")) == "what happened"


def test_testing_needs_the_standard_library_only() -> None:
    script = (
        "import sys, pymailbox.testing\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(names - sys.stdlib_module_names - {'pymailbox', '__main__'}))"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-S", "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
