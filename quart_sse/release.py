"""Which release of the package runs; ``pyproject.toml`` has the number."""

from importlib.metadata import PackageNotFoundError, version


def _read() -> str:
    try:
        return version("quart-sse")
    except PackageNotFoundError:
        return "unknown"  # a folder on PYTHONPATH, which nothing has installed


RELEASE = _read()
