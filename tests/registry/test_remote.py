"""What other programs ask for: the form of a request, beside what tests/quart/ sends by HTTP."""

from collections.abc import Mapping
from typing import Any

import pytest

from quart_sse import ParameterError
from quart_sse.registry import Remote
from tests.support.sites import Site, heard


@pytest.fixture
def remote(site: Site) -> Remote:
    """What does it, of the app."""
    remote: Remote = site.app.extensions["quart_sse"].remote
    return remote


async def test_event_has_its_id_and_its_data(site: Site, remote: Remote) -> None:
    """With a broker of each kind."""
    told = {"channel": "rooms", "params": {"room": "1"}, "event": "said", "data": [1]}
    async with site.view(1) as (stream, _):
        answer = await remote.publish(told)

        assert await heard(stream, 1) == [("rooms.said?room=1", "[1]")]
    assert (await site.room(1).history())[0].id == answer["id"]


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ({"channel": "rooms", "evnt": "x", "event": "y"}, "data, event, exclude, params"),
        ({"user": "mira", "event": "y", "params": {}}, "data, event, exclude, retry_ms, user"),
        ({"channel": "rooms", "close": True, "data": 1}, "channel, close, params"),
        ({"channel": "rooms", "refresh": [], "html": ""}, "channel, params, refresh"),
    ],
)
async def test_key_that_does_not_belong_is_named_with_those_that_do(
    remote: Remote, told: Mapping[str, Any], names: str
) -> None:
    """A misspelt key must not be left out in silence."""
    with pytest.raises(ParameterError, match=names):
        await remote.publish(told)
