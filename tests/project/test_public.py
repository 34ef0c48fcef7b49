"""The public face: what ``quart_sse`` offers, and when it is loaded."""

import ast
import re
import statistics
import subprocess
import sys
from importlib import import_module

import pytest

import quart_sse
from tests.support.servers import ROOT

PACKAGE = ROOT / "quart_sse"
#: How often two imports are compared.
PAIRS = 7
#: Refuses to import a package, as where it is not installed.
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
"""


def run(code: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a process of its own."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_public_name_can_be_loaded() -> None:
    """What is listed is there, and what is there is listed for type checkers, too."""
    for name in quart_sse.__all__:
        assert getattr(quart_sse, name).__name__ == name
        assert name in dir(quart_sse)
    source = ast.parse((ROOT / "quart_sse/__init__.py").read_text("utf-8"))
    checking = next(node for node in source.body if isinstance(node, ast.If))
    typed = {
        alias.name
        for node in checking.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == set(quart_sse.__all__)


def test_misspelt_name_is_an_attribute_error() -> None:
    """As for any module."""
    with pytest.raises(AttributeError, match="'quart_sse' has no attribute 'SSEE'"):
        _ = quart_sse.SSEE  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "statement",
    [
        "import quart_sse",
        "from quart_sse import BrokerUnavailable, Event",
        "from quart_sse import AsyncPublisher, Publisher",
        "from quart_sse import Publisher; Publisher('redis://localhost').topic('a', b=1)",
        "import quart_sse.cli",
        "from quart_sse.broker.redis import RedisBroker",
        "from quart_sse.hub import Hub",
        "from quart_sse.config import Config",
    ],
)
def test_what_needs_no_framework_is_imported_without_one(statement: str) -> None:
    """A worker that only publishes needs neither Quart nor Jinja."""
    done = run(WITHOUT.format(names={"quart", "flask", "jinja2"}) + statement)

    assert done.returncode == 0, done.stderr


def test_import_loads_neither_quart_nor_redis() -> None:
    """A program that is started often waits for nothing that it does not use."""
    done = run("import sys, quart_sse; print([m for m in ('quart', 'redis') if m in sys.modules])")

    assert done.stdout.strip() == "[]", done.stderr


def cpu(code: str) -> float:
    """Return the CPU time that code takes in a process of its own, in seconds."""
    clock = "import time; began = time.process_time()"
    return float(run(f"{clock}\n{code}\nprint(time.process_time() - began)").stdout)


def test_publisher_is_imported_as_fast_as_the_redis_client() -> None:
    """A worker, or a command of a shell, is not kept waiting by what it does not use."""
    pairs = [cpu("from quart_sse import Publisher") / cpu("import redis") for _ in range(PAIRS)]

    assert statistics.median(pairs) <= 1.3


WINGS = sorted({path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"testing"})


@pytest.mark.parametrize("wing", WINGS)
def test_package_that_is_not_public_says_so(wing: str) -> None:
    """What can be imported is not thereby promised; docs/stability.md says what is."""
    text = import_module(f"quart_sse.{wing}").__doc__ or ""

    assert re.search(r"This package is (private|provisional): it may change in any release", text)
