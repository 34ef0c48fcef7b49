"""The folder of templates and static files.

A wheel has it inside the package, a checkout beside it.
"""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
ASSETS = _PACKAGE if (_PACKAGE / "templates").is_dir() else _PACKAGE.parent
