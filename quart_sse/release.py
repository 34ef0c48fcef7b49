"""The installed release of the package, as ``pyproject.toml`` numbers it."""

from importlib.metadata import PackageNotFoundError, version


def _read() -> str:
    try:
        return version("quart-sse")
    except PackageNotFoundError:
        return "unknown"  # a checkout on PYTHONPATH that is not installed


RELEASE = _read()
