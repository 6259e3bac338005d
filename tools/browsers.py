"""Which browsers there are and how selenium starts them.

The data is in browsers.json, which browsers.mjs also reads.

Run as a program it says which of them selenium can't drive here, with the command that installs it, and exits with 1.
"""

import glob
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from selenium.common import NoSuchDriverException
from selenium.webdriver.chrome.options import Options as ChromeOptions
from selenium.webdriver.chrome.service import Service as ChromeService
from selenium.webdriver.common.driver_finder import DriverFinder

SETTINGS: dict[str, Any] = json.loads(Path(__file__).with_name("browsers.json").read_text(encoding="utf-8"))


def keep_selenium_offline() -> None:
    """Stop selenium from looking for drivers elsewhere if the system has its own."""
    if shutil.which("chromedriver"):
        os.environ.setdefault("SE_OFFLINE", "true")
        os.environ.setdefault("SE_AVOID_STATS", "true")


def chromium_flags() -> list[str]:
    """Command line flags for Chromium; its sandbox can't start as root."""
    is_root = hasattr(os, "getuid") and os.getuid() == 0
    settings = SETTINGS["chromium"]
    return [*settings["args"], *(settings["rootArgs"] if is_root else [])]


def chromium() -> str:
    """The path of Chromium: PYMAILBOX_CHROMIUM, the system's, or the one that selenium finds."""
    found = [path for path in SETTINGS["chromium"]["executables"] if Path(path).exists()]
    chosen: str | None = os.environ.get("PYMAILBOX_CHROMIUM") or next(iter(found), None)
    if chosen:
        return chosen
    keep_selenium_offline()
    return DriverFinder(ChromeService(), ChromeOptions()).get_browser_path()


def webkit_driver() -> str | None:
    """The path of WebKitGTK's WebDriver, or None if Playwright's WebKit has to be used."""
    path: str = SETTINGS["webkit"]["driver"]
    return path if Path(path).exists() else None


def webkit_browser() -> str:
    """The path of the browser that belongs to `webkit_driver()`, the newest if there are several."""
    pattern: str = SETTINGS["webkit"]["browsers"]
    found = sorted(glob.glob(pattern))  # noqa: PTH207 - an absolute pattern
    if not found:
        raise FileNotFoundError(f"no {pattern}: sudo apt-get install webkit2gtk-driver")
    return found[-1]


def webkit_environment() -> dict[str, str]:
    """What the driver of WebKitGTK has in its environment besides: no optimizing compiler for WebAssembly, which works
    longer on Pyodide than a run of tests gains by it.
    """
    environment: dict[str, str] = SETTINGS["webkit"]["environment"]
    return environment


def _problems() -> list[str]:
    problems = []
    keep_selenium_offline()
    try:
        DriverFinder(ChromeService(), ChromeOptions()).get_driver_path()
    except NoSuchDriverException as error:
        problems.append(f"chromedriver is missing: sudo apt-get install chromium chromium-driver ({error.msg})")
    if webkit_driver() and not shutil.which("Xvfb"):
        problems.append("Xvfb is missing, WebKitGTK needs a display: sudo apt-get install xvfb")
    return problems


if __name__ == "__main__":
    problems = _problems()
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems))
