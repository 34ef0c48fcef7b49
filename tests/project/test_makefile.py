"""The Makefile: help lists every target, clean keeps what people wrote, workflows call targets."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.servers import ROOT

MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.MULTILINE)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_help_lists_every_target_and_what_it_does() -> None:
    """A target without a text would be known to readers of the Makefile only."""
    command = ["make", "--no-print-directory", "help"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    listed = [line.split(maxsplit=1) for line in printed.splitlines()]

    assert [name for name, _ in listed] == TARGETS
    assert all(text[0].isupper() for _, text in listed)


def test_every_target_is_phony() -> None:
    """A file of a target's name does not keep it from running."""
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)

    assert set(phony.split()) == set(TARGETS)


def test_clean_leaves_the_data_of_the_demo(tmp_path: Path) -> None:
    """Environments, caches and builds can be made again; what people wrote into the demo cannot."""
    kept = {"Makefile", "example", "example/instance", "quart_sse"}
    removed = [
        *(
            ".venv",
            ".venv-3.12",
            ".venv-min",
            "node_modules",
            "build",
            "dist",
            "quart_sse.egg-info",
        ),
        *(".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "quart_sse/__pycache__"),
    ]
    (tmp_path / "Makefile").write_text(MAKEFILE, "utf-8")
    for folder in ["example/instance", *removed]:
        (tmp_path / folder).mkdir(parents=True)

    subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, check=True)

    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == kept


def test_workflows_run_the_targets_that_people_run() -> None:
    """What CI does, a person can do; it knows no commands of its own."""
    commands = [
        command
        for path in WORKFLOWS
        for command in re.findall(r"^ *(?:- )?run: (.*)$", path.read_text("utf-8"), re.MULTILINE)
    ]

    called = [command.split()[:2] for command in commands]

    assert {"check", "test", "test-min"} <= {target for _, target in called} <= set(TARGETS)
    assert {program for program, _ in called} == {"make"}


def test_workflows_test_every_python_that_is_supported() -> None:
    """A Python that is added to the classifiers is added to the matrix."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    prefix = "Programming Language :: Python :: "
    supported = re.findall(rf"{prefix}(3\.\d+)", "\n".join(project["classifiers"]))
    (matrix,) = re.findall(r"^ *python: \[(.*)\]$", WORKFLOWS[0].read_text("utf-8"), re.MULTILINE)

    assert re.findall(r'"(.*?)"', matrix) == supported


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_named_by_their_commit(path: Path) -> None:
    """A tag can be moved to other code; a commit cannot."""
    used = re.findall(r"uses: (\S+)", path.read_text("utf-8"))

    assert used
    assert [name for name in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name)] == []
