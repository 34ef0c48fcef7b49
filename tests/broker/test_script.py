"""Lua scripts: read from the package, and named by what they contain."""

import hashlib
from importlib.resources import files

from quart_sse.broker.redis.script import Script, ScriptCall
from tests.support.redis_server import RedisServer


def test_script_is_made_of_its_files_in_their_order() -> None:
    """Functions that several scripts call are in a file of their own, which comes first."""
    folder = files("quart_sse.broker.redis") / "scripts"
    parts = [(folder / f"{name}.lua").read_text("utf-8") for name in ("prelude", "publish")]

    assert Script("prelude", "publish").source == parts[0] + parts[1]


async def test_redis_knows_a_script_by_the_same_name(redis: RedisServer) -> None:
    """So a script is sent once to a server, and its name from then on."""
    script = Script("present")
    name = await redis.ask(*ScriptCall(script, [], []).load)

    assert name == script.sha == hashlib.sha1(script.source.encode()).hexdigest()
