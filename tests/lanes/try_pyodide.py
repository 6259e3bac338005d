"""Tries the built wheels on another Pyodide than the pinned one.

Usage: python -m tests.lanes.try_pyodide VERSION [BROWSER [PLACE]]
VERSION is one of npm's, BROWSER is chromium (the default), firefox or webkit, PLACE is page (the default) or worker.

First the wheel for pages: what a tab has stored, and what it held, is there for another one once that tab is closed.
Then, with the whole wheel, every check of the contract on IndexedDB.
"""

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import TEST_ROUTES, serve
from tests.lanes import runtimes
from tests.lanes.runtimes import HarnessTab
from tools.build_wheel import page_wheel_name, wheel_name
from tools.serve import ROOT

UNPACK = """
import importlib, io, site, zipfile
from pyodide.http import pyfetch

wheel = await (await pyfetch("{url}")).bytes()
zipfile.ZipFile(io.BytesIO(wheel)).extractall(site.getsitepackages()[0])
importlib.invalidate_caches()
"""
"""Without micropip, which npm's package lacks, and which refuses wheels whose tags do not name that Pyodide."""

STORE = """
from pymailbox import MessagePriority, open_mailbox

mailbox = await open_mailbox("tried")
for payload in (b"done", b"held"):
    await mailbox.enqueue(b"tab", payload, MessagePriority.HIGH)
await mailbox.enqueue_json({"queued": True}, headers={"from": "tab"})
done, held = await mailbox.dequeue(2)
await mailbox.ack(done.id)
"""

TAKE = """
from pymailbox import open_mailbox

async with open_mailbox("tried") as mailbox:
    taken = []
    while len(taken) < 2:
        taken += await mailbox.dequeue(wait=60)
    await mailbox.ack_many(message.id for message in taken)
f"{taken[0].payload} {taken[1].json()} {taken[1].headers['from']}"
"""

CHECK = """
import json
from pymailbox.testing import CHECKS, factory_at, run_checks

names = [check.name for check in CHECKS]
results = await run_checks(factory_at("indexeddb://"), only=names[{first}:{first} + 20])
json.dumps([len(names), [result.to_dict() for result in results]])
"""


def get(version: str) -> Path:
    """The folder with that Pyodide, from npm."""
    folder = ROOT / "build" / f"pyodide-{version}"
    if not folder.exists():
        made = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        subprocess.run(["npm", "pack", "--silent", f"pyodide@{version}"], check=True, cwd=made)
        (tarball,) = made.glob("*.tgz")
        shutil.unpack_archive(tarball, made)
        made.rename(folder)
    return folder / "package"


def check(tab: HarnessTab) -> None:
    """Run all checks in `tab`, and print what did not pass."""
    first, count = 0, 1
    outcomes: dict[str, int] = {}
    while first < count:
        count, results = json.loads(tab.run_async(CHECK.format(first=first)))
        first += 20
        for result in results:
            outcomes[result["outcome"]] = outcomes.get(result["outcome"], 0) + 1
            if result["outcome"] != "passed":
                print(json.dumps(result, indent=1))
    print(f"  checks: {outcomes}", flush=True)


def main(version: str, browser: str = "chromium", place: str = "page") -> None:
    """Try it."""
    routes = TEST_ROUTES | {"/pyodide/": get(version)}
    with contextmanager(serve)(routes=routes) as server:
        url = server.url + runtimes.harness_path(place)
        with runtimes.browser(browser, url) as tab:
            print(f"Pyodide {version}, {browser}, {place}:", tab.run_async("import sys; sys.version"), flush=True)
            other = tab.open_tab(url)
            tab.run_async(UNPACK.format(url=f"{server.url}/wheels/{page_wheel_name()}"))
            tab.run_async(STORE)
            tab.close_tab()
            other.run_async(UNPACK.format(url=f"{server.url}/wheels/{wheel_name()}"))
            print("  another tab:", other.run_async(TAKE), flush=True)
            print("  run_sync:", other.run_async("from pyodide.ffi import can_run_sync; can_run_sync()"), flush=True)
            check(other)


if __name__ == "__main__":
    main(*sys.argv[1:])
