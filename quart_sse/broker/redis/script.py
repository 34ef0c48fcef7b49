"""Load the Lua scripts, and say how Redis runs them."""

import hashlib
from importlib.resources import files
from typing import Any, NamedTuple


class Script:
    """One of the Lua scripts, each of which is atomic and one round trip.

    Args:
        names: Of the files in ``scripts/`` that it consists of, without ``.lua``.
    """

    def __init__(self, *names: str) -> None:
        folder = files("quart_sse.broker.redis") / "scripts"
        self.source = "".join((folder / f"{name}.lua").read_text("utf-8") for name in names)
        self.sha = hashlib.sha1(self.source.encode()).hexdigest()


class ScriptCall(NamedTuple):
    """A script with its keys and arguments."""

    script: Script
    keys: list[str]
    arguments: list[Any]

    @property
    def command(self) -> tuple[Any, ...]:
        """The command that runs the script on a server that has loaded it."""
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.arguments)

    @property
    def load(self) -> tuple[str, str, str]:
        """The command that loads the script."""
        return ("SCRIPT", "LOAD", self.script.source)
