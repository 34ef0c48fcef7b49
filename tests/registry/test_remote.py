"""What other programs ask for: the form of a request, beside what tests/quart/ sends by HTTP."""

from collections.abc import Mapping
from typing import Any

import pytest

from quart_sse import EventError, ParameterError
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


async def test_notification_has_its_id(site: Site, remote: Remote) -> None:
    """With all that an app's own call takes."""
    options = {"level": "error", "title": "Oh", "data": {"a": 1}, "id": "x"}
    where = {"where": {"role": "admin"}}

    answers = [
        await remote.publish({"user": "ada", "notify": "Saved", **options}),
        await remote.publish({"everyone": True, "notify": "Late", **where}),
        await remote.publish({"channel": "rooms", "params": {"room": 1}, "notify": "Said"}),
    ]

    (kept,) = await site.sse.user("ada").notifications()
    assert (kept.message, kept.level, kept.title, kept.data) == ("Saved", "error", "Oh", {"a": 1})
    assert answers[0] == {"id": "x"}
    assert await site.sse.everyone.notifications() == []
    assert len(await site.sse.everyone.notifications(metadata={"role": "admin"})) == 1
    assert (await site.room(1).notifications())[0].id == answers[2]["id"]
    with pytest.raises(EventError, match="has the level 'loud'"):
        await remote.publish({"user": "ada", "notify": "x", "level": "loud"})
    with pytest.raises(EventError, match="message of a notification is 7"):
        await remote.publish({"user": "ada", "notify": 7})


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ({"channel": "rooms", "evnt": "x", "event": "y"}, "data, event, exclude, params"),
        ({"user": "mira", "event": "y", "params": {}}, "data, event, exclude, retry_ms, user"),
        ({"channel": "rooms", "close": True, "data": 1}, "channel, close, params"),
        ({"channel": "rooms", "refresh": [], "html": ""}, "channel, item, params, refresh"),
    ],
)
async def test_key_that_does_not_belong_is_named_with_those_that_do(
    remote: Remote, told: Mapping[str, Any], names: str
) -> None:
    """A misspelt key must not be left out in silence."""
    with pytest.raises(ParameterError, match=names):
        await remote.publish(told)
