"""Print pip constraints for the oldest dependencies that pyproject.toml allows.

    python scripts/lowest.py [PYPROJECT]

Each requirement of the package and of its extras becomes one line: `redis>=5.3` is `redis==5.3`.
One without a bound takes that of the same package elsewhere; any other form is an error, so no
dependency escapes `make test-min`.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[\w,-]+\])?(?:>=([0-9.]+))?")


def lowest(project: dict[str, Any]) -> dict[str, str]:
    """Return the lower bound of each dependency, by package.

    Args:
        project: The `project` table of a pyproject.toml.

    Raises:
        ValueError: If a requirement has another form than `name>=version`, if a package has no
            bound, or if it has two.
    """
    requirements = [*project["dependencies"]]
    for extra in project.get("optional-dependencies", {}).values():
        requirements += extra
    bounds: dict[str, str] = {}
    names = set[str]()
    for requirement in requirements:
        parts = REQUIREMENT.fullmatch(requirement)
        if parts is None:
            raise ValueError(f"{requirement!r} is not name>=version, so its oldest is not known.")
        name, bound = parts[1].lower(), parts[2]
        names.add(name)
        if bound and bounds.setdefault(name, bound) != bound:
            raise ValueError(f"{name} has two bounds, {bounds[name]} and {bound}; give it one.")
    if unbound := sorted(names - bounds.keys()):
        raise ValueError(f"{', '.join(unbound)}: give each a lower bound, name>=version.")
    return bounds


def main() -> None:
    """Print the constraints, in the order of pyproject.toml."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PYPROJECT
    for name, bound in lowest(tomllib.loads(path.read_text("utf-8"))["project"]).items():
        print(f"{name}=={bound}")


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(str(error))
