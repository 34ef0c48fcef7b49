"""Where templates and static files are: in the package in a wheel, beside it in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
ASSETS = _PACKAGE if (_PACKAGE / "templates").is_dir() else _PACKAGE.parent
