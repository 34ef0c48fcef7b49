"""The Lua scripts, and the commands that load and run them."""

import hashlib
from importlib.resources import files
from typing import Any, NamedTuple


class Script:
    """A Lua script, which is atomic and takes one round trip.

    Args:
        names: Names of its files in ``scripts/``, without ``.lua``; they are joined.
    """

    def __init__(self, *names: str) -> None:
        folder = files("quart_sse.broker.redis") / "scripts"
        self.source: str = "".join((folder / f"{name}.lua").read_text("utf-8") for name in names)
        self.sha: str = hashlib.sha1(self.source.encode()).hexdigest()


class ScriptCall(NamedTuple):
    """A script with its keys and arguments."""

    script: Script
    keys: list[str]
    arguments: list[Any]

    @property
    def command(self) -> tuple[Any, ...]:
        """The command that runs the script; the server refuses it until the script is loaded."""
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.arguments)

    @property
    def load(self) -> tuple[str, str, str]:
        """The command that loads the script."""
        return ("SCRIPT", "LOAD", self.script.source)
