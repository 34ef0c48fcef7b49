"""The release that runs is the one that was installed."""

import tomllib
from importlib.metadata import PackageNotFoundError

import pytest

from quart_sse import release
from tests.support.servers import ROOT


def test_release_is_the_number_of_the_project() -> None:
    """One number stands in one place, and the package reads it from what is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["version"] == release.RELEASE


def test_release_of_a_folder_that_was_not_installed_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A folder on PYTHONPATH works without a number."""

    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(release, "version", version)

    assert release._read() == "unknown"
