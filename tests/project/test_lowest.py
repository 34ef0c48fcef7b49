"""The oldest dependencies: each has a bound, and `make test-min` gets its constraints of it."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.servers import ROOT

#: Packages whose distribution has another name.
DISTRIBUTIONS = {"opentelemetry": "opentelemetry-api"}
OURS = {"quart_sse"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def lowest(pyproject: Path) -> subprocess.CompletedProcess[str]:
    """Run the script for a pyproject.toml."""
    command = [sys.executable, "-I", str(ROOT / "scripts" / "lowest.py"), str(pyproject)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def pyproject_with(folder: Path, *dependencies: str, extra: str = "") -> Path:
    """Write a pyproject.toml with these dependencies."""
    path = folder / "pyproject.toml"
    path.write_text(
        f"[project]\ndependencies = {list(dependencies)}\n"
        f"[project.optional-dependencies]\nextra = {[extra] if extra else []}\n"
    )
    return path


def imported_packages() -> set[str]:
    """Return the packages that quart_sse imports, but for those of Python itself."""
    modules = set[str]()
    for path in (ROOT / "quart_sse").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                modules.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                modules.add(node.module.partition(".")[0])
    return {DISTRIBUTIONS.get(name, name) for name in modules} - sys.stdlib_module_names - OURS


def test_constraints_are_the_lower_bounds_of_the_project() -> None:
    """Every dependency is there once, at the version that pyproject.toml names."""
    expected = [dependency.replace(">=", "==") for dependency in PROJECT["dependencies"]]

    lines = lowest(ROOT / "pyproject.toml").stdout.split()

    assert lines[: len(expected)] == expected


def test_every_package_that_is_imported_is_a_dependency() -> None:
    """What the package imports is not left to the dependencies of others."""
    lines = lowest(ROOT / "pyproject.toml").stdout.split()

    names = {line.partition("==")[0].replace("-", "_") for line in lines}
    assert {name.replace("-", "_") for name in imported_packages()} <= names


def test_extra_without_a_bound_takes_that_of_the_dependency(tmp_path: Path) -> None:
    """A bound is written once."""
    path = pyproject_with(tmp_path, "Redis>=5.3", "quart>=0.22", extra="redis[hiredis]")

    assert lowest(path).stdout.split() == ["redis==5.3", "quart==0.22"]


@pytest.mark.parametrize(
    ("dependency", "extra", "message"),
    [
        ("redis", "", "redis: give each a lower bound"),
        ("redis>5", "", "'redis>5' is not name>=version"),
        ("redis>=5,<6", "", "'redis>=5,<6' is not name>=version"),
        ("redis>=5.3", "redis[hiredis]>=6", "redis has two bounds, 5.3 and 6"),
    ],
)
def test_dependency_whose_oldest_is_not_known_is_an_error(
    tmp_path: Path, dependency: str, extra: str, message: str
) -> None:
    """No dependency escapes, by whatever form its requirement has."""
    done = lowest(pyproject_with(tmp_path, dependency, extra=extra))

    assert done.returncode == 1
    assert message in done.stderr


def test_readme_names_the_oldest_python_and_quart() -> None:
    """The README's Install says what pyproject.toml says."""
    (quart,) = (line for line in PROJECT["dependencies"] if line.startswith("quart>="))
    python = PROJECT["requires-python"].removeprefix(">=")
    expected = f"Python {python} or newer, Quart {quart.removeprefix('quart>=')} or newer."

    assert expected in (ROOT / "README.md").read_text("utf-8")
