"""The release that runs is the one that was installed, and the one that the changelog describes."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError

import pytest

from quart_sse import release
from tests.support.servers import ROOT

CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
#: The headings of the changelog, newest first, without `Unreleased`.
RELEASED = re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", CHANGELOG, re.MULTILINE)


def compare_links(released: list[str], repository: str) -> dict[str, str]:
    """Return where each heading of a changelog leads, as Keep a Changelog has it.

    Args:
        released: The releases, newest first.
        repository: Its URL.
    """
    links = {"Unreleased": f"{repository}/commits/main"}
    for newer, older in zip(["Unreleased", *released], released, strict=False):
        until = "HEAD" if newer == "Unreleased" else f"v{newer}"
        links[newer] = f"{repository}/compare/v{older}...{until}"
    if released:
        links[released[-1]] = f"{repository}/releases/tag/v{released[-1]}"
    return links


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


def test_newest_release_in_the_changelog_is_the_number_of_the_project() -> None:
    """A release whose number was raised has its heading; before the first one there is none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert RELEASED[:1] in ([], [project["version"]])


def test_changelog_has_no_other_headings() -> None:
    """Every heading is `[Unreleased]`, which comes first, or `[version] - date`."""
    headings = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)

    assert headings[0] == "[Unreleased]"
    assert len(headings) == 1 + len(RELEASED)


def test_each_heading_of_the_changelog_leads_to_its_changes() -> None:
    """The links at the end compare each release with the one before it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    links = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", CHANGELOG, re.MULTILINE))

    assert links == compare_links(RELEASED, project["urls"]["Source"])


def test_links_of_a_changelog_compare_neighbours() -> None:
    """The first release leads to its tag, and what is not released to all since the last one."""
    assert compare_links(["0.2.0", "0.1.0"], "R") == {
        "Unreleased": "R/compare/v0.2.0...HEAD",
        "0.2.0": "R/compare/v0.1.0...v0.2.0",
        "0.1.0": "R/releases/tag/v0.1.0",
    }
