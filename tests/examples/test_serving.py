"""The tests of the examples run what a reader gets, except for the addresses, with the same versions."""

from pathlib import Path

import pytest

from tools.serve_examples import COPIES, EXAMPLES, localized

LOADING = [path for path in EXAMPLES.rglob("*.*") if path.suffix in {".html", ".js", ".json", ".ipynb", ".py"}]


@pytest.mark.parametrize(("address", "path"), COPIES.items())
def test_the_versions_that_are_served_stand_in_for_the_cdn(address: str, path: str) -> None:
    assert localized(f'import "{address}index.js";') == f'import "{path}index.js";'


@pytest.mark.parametrize("address", COPIES)
def test_another_version_is_refused(address: str) -> None:
    version = address.split("@" if "/npm/" in address else "/v")[-1].split("/")[0]
    with pytest.raises(ValueError, match="not served here"):
        localized(f'import "{address.replace(version, "0.0.9")}index.js";')


@pytest.mark.parametrize("file", LOADING, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_an_example_loads_tested_versions_only(file: Path) -> None:
    text = localized(file.read_text(encoding="utf-8"))
    assert "https://" not in text, "an address that the tests do not serve"
