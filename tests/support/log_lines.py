"""The lines that the package logs, as its modules have them."""

import importlib
import pkgutil
from types import ModuleType

import quart_sse
from quart_sse.logs import LogLine


def modules() -> list[ModuleType]:
    """Return every module of the package."""
    names = [each.name for each in pkgutil.walk_packages(quart_sse.__path__, "quart_sse.")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def lines_of(module: ModuleType) -> dict[str, LogLine]:
    """Return the lines that a module declares, by the names of its constants."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, LogLine) and name.isupper()
    }


def all_lines() -> list[tuple[ModuleType, str, LogLine]]:
    """Return module, constant and line of every line of the package."""
    return [(module, name, line) for module in modules() for name, line in lines_of(module).items()]
