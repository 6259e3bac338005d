"""Builds the wheels into build/wheels, with wheel.json beside them, which tells pages their file names.

Each version has three. The whole one is for everybody. The one for pages, in `page/`, leaves out what a page does not
need (SQLite, the command line, the test suite, the JavaScript API, comments in the sources), and is less than half as
large; its tags say that it is for Pyodide, so that an installer prefers it there and takes it nowhere else (PEP 783).
What only pages on a NATS server need is beside it, as a package of its own that its extra `nats` asks for:
`pymailbox-nats`, which puts the modules where they are in the whole wheel.

Usage: python -m tools.build_wheel
"""

import base64
import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from .lean_source import lean
from .wheel_hook import ENGINE, ENGINE_FOR_PYTHON, bundle

ROOT = Path(__file__).parent.parent
WHEELS = ROOT / "build" / "wheels"
PAGE_WHEELS = WHEELS / "page"
NAMES_FILE = WHEELS / "wheel.json"

PAGE_TAG = "py3-none-pyemscripten_2025_0_wasm32.pyemscripten_2026_0_wasm32"
"""For the existing versions of Pyodide; a later one takes the whole wheel until its tag is here."""

NATS = "pymailbox/backends/jetstream/"
"""What is in the wheel of its own."""

NOT_IN_PAGES = (
    NATS,
    "pymailbox/backends/sqlite/",
    "pymailbox/cli/",
    "pymailbox/sync/",
    "pymailbox/testing/",
    "pymailbox/__main__.py",
    "pymailbox/py.typed",  # for type checkers, which no page has
)
FOR_AN_INDEX = (b"Classifier:", b"Description-Content-Type:", b"Keywords:")
"""Metadata that no installer reads."""
WITH_DOCSTRINGS = (
    "pymailbox/__init__.py",
    "pymailbox/_open.py",
    "pymailbox/actors/asking.py",
    "pymailbox/actors/backpressure.py",
    "pymailbox/actors/consumer.py",
    "pymailbox/actors/context.py",
    "pymailbox/actors/retry.py",
    "pymailbox/contract/capabilities.py",
    "pymailbox/contract/errors.py",
    "pymailbox/contract/mailbox.py",
    "pymailbox/contract/values.py",
    "pymailbox/relaying/loop.py",
    "pymailbox/relaying/status.py",
    "pymailbox/runtime/run_sync.py",
    "pymailbox/runtime/suspension.py",
    "pymailbox/transfer/browser.py",
    "pymailbox/transfer/exporting.py",
    "pymailbox/transfer/importing.py",
)
"""Where public names are defined: ``help`` shows them in a page too. What a verb does is said where the contract is."""
BUT = tuple(f"{folder}__init__.py" for folder in NOT_IN_PAGES if folder.endswith("/"))
"""They say what to do instead."""


def wheel_name() -> str:
    """The file name of the whole wheel that was built last."""
    return _names()["file"]


def page_wheel_name() -> str:
    """The path in build/wheels of the one for pages."""
    return _names()["page"]


def nats_wheel_name() -> str:
    """The path there of what pages on a NATS server need besides."""
    return _names()["nats"]


def _names() -> dict[str, str]:
    names: dict[str, str] = json.loads(NAMES_FILE.read_text(encoding="utf-8"))
    return names


def main() -> None:
    """Build the wheels anew."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(WHEELS)]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYMAILBOX_BUNDLE": "required"})
    (whole,) = WHEELS.glob("*.whl")
    PAGE_WHEELS.mkdir()
    wheels = {"page": build_page_wheel(whole, PAGE_WHEELS), "nats": build_nats_wheel(whole, PAGE_WHEELS)}
    # The file name has to reach micropip unchanged, since that reads name, version and tags from it.
    names = {"file": whole.name} | {name: wheel.relative_to(WHEELS).as_posix() for name, wheel in wheels.items()}
    NAMES_FILE.write_text(json.dumps(names), encoding="utf-8")


def build_page_wheel(whole: Path, folder: Path) -> Path:
    """The wheel for pages, made of the whole one."""

    def content(name: str, content: bytes) -> bytes | None:
        if (name.startswith(NOT_IN_PAGES) and name not in BUT) or name.endswith("/entry_points.txt"):
            return None
        if name == ENGINE:
            return bundle(ENGINE_FOR_PYTHON, ROOT)
        if name.endswith("/METADATA"):
            fields = content.partition(b"\n\n")[0].splitlines(keepends=True)  # without the README
            metadata = b"".join(field for field in fields if not field.startswith(FOR_AN_INDEX))
            return metadata + f"Requires-Dist: pymailbox-nats=={_version(whole)}; extra == 'nats'\n".encode()
        return content

    return _build(whole, folder / whole.name.replace("py3-none-any", PAGE_TAG), content)


def build_nats_wheel(whole: Path, folder: Path) -> Path:
    """What pages on a NATS server need besides the wheel for pages, made of the whole one."""
    version = _version(whole)
    needs = (f"pymailbox=={version}", "nats-py>=2.16")
    metadata = f"Metadata-Version: 2.1\nName: pymailbox-nats\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in needs)

    def content(name: str, content: bytes) -> bytes | None:
        if ".dist-info/" not in name:
            return content if name.startswith(NATS) and name not in BUT else None
        if name.endswith("/METADATA"):
            return metadata.encode()
        return content if name.endswith(("/WHEEL", "/RECORD", "/LICENSE")) else None

    name = f"pymailbox_nats-{version}-{PAGE_TAG}.whl"
    return _build(whole, folder / name, content, ("pymailbox-", "pymailbox_nats-"))


def _version(wheel: Path) -> str:
    return wheel.name.split("-")[1]


def _build(
    whole: Path, wheel: Path, content_of: Callable[[str, bytes], bytes | None], renamed: tuple[str, str] = ("", "")
) -> Path:
    """A wheel for Pyodide of what a function makes of the whole one's files; None leaves one out."""
    records: list[tuple[str, str, str]] = []
    with ZipFile(whole) as source, ZipFile(wheel, "w", ZIP_DEFLATED, compresslevel=9) as target:
        for info in source.infolist():
            content = content_of(info.filename, source.read(info))
            if content is None:
                continue
            if info.filename.endswith(".py"):
                kept = {
                    "keeps_docstrings": info.filename in WITH_DOCSTRINGS,
                    "is_package": info.filename.endswith("/__init__.py"),
                }
                content = lean(content.decode(), **kept).encode()
            if ".dist-info/" in info.filename:
                info.filename = info.filename.replace(*renamed, 1)
            match info.filename.rpartition("/")[2]:
                case "RECORD":
                    content = _record_of(records, info.filename)
                case "WHEEL":
                    tags = "\n".join(f"Tag: py3-none-{platform}" for platform in PAGE_TAG.split("-")[2].split("."))
                    content = content.replace(b"Tag: py3-none-any", tags.encode())
            target.writestr(info, content, ZIP_DEFLATED, 9)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            records.append((info.filename, f"sha256={digest}", str(len(content))))
    return wheel


def _record_of(files: list[tuple[str, str, str]], own_name: str) -> bytes:
    """RECORD, which is the last file of a wheel."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*files, (own_name, "", "")])
    return text.getvalue().encode()


if __name__ == "__main__":
    main()
