"""Channels as one app has them: by topic, with the app's settings and URL map."""

import pytest
from quart import Quart

from quart_sse import SSE
from quart_sse.broker import Keep
from quart_sse.channels import AppChannels
from quart_sse.config import Config
from quart_sse.quart.host import QuartHost


def channels_of(app: Quart, sse: SSE, config: Config | None = None) -> AppChannels:
    """Return the declared channels as an app has them."""
    settings = config or Config()
    return AppChannels(sse.channels, settings, QuartHost(app, settings, lambda: None))


def test_topic_finds_its_channel_and_fragments(app: Quart, sse: SSE) -> None:
    """A topic's name begins with its channel's; one of no channel is nothing, and no error."""
    rooms = sse.channel("rooms", "/rooms/<int:room>")
    rooms.fragment("list", every=5.0)(lambda room: "")
    channels = channels_of(app, sse)

    assert channels.of("rooms?room=7") is channels.known("rooms?room=7") is rooms._declaration
    assert channels.get("rooms") is rooms._declaration
    assert [spec.every for spec in channels.specs("rooms?room=7")] == [5.0]
    spec = channels.spec("rooms?room=7", "list")
    assert spec is not None
    assert spec.every == 5.0
    assert channels.of("other?room=7") is channels.get("other") is None
    assert channels.spec("other", "list") is channels.spec("rooms", "other") is None
    assert channels.specs("other") == []


def test_channel_declared_later_is_known_at_once(app: Quart, sse: SSE) -> None:
    """Modules of an app declare channels after the extension was initialised."""
    channels = channels_of(app, sse)
    assert channels.of("late") is None

    late = sse.channel("late", "/late")

    assert channels.of("late") is late._declaration


def test_history_is_the_channel_s_or_the_app_s(app: Quart, sse: SSE) -> None:
    """A topic of no channel has no history, for no channel declares that it is kept."""
    sse.channel("own", "/own", history=3, history_ttl=60.0)
    sse.channel("plain", "/plain")
    channels = channels_of(app, sse, Config(history=9, history_ttl=90.0))

    assert channels.keep("own") == Keep(3, 60.0)
    assert channels.keep("plain") == Keep(9, 90.0)
    assert channels.keep("other") == Keep(0, 90.0)


@pytest.mark.parametrize(
    ("topics", "is_private"),
    [([], False), (["news"], False), (["news", "rooms?room=7"], True), (["other"], True)],
)
def test_topics_need_a_token_unless_all_are_public(
    app: Quart, sse: SSE, topics: list[str], is_private: bool
) -> None:
    """One private topic is enough, and so is one that is not known."""
    sse.channel("news", "/news", public=True)
    sse.channel("rooms", "/rooms/<int:room>")

    assert channels_of(app, sse).is_private(topics) is is_private


def test_app_with_personal_fragments_may_show_private_pages(app: Quart, sse: SSE) -> None:
    """Until then a streamed page may be kept by shared caches."""
    news = sse.channel("news", "/news", public=True)
    news.fragment("list")(lambda: "")
    channels = channels_of(app, sse)
    assert not channels.are_private

    news.fragment("mine", personal=True)(lambda: "")

    assert channels.are_private


def test_parameters_and_paths_are_those_of_the_url_map(app: Quart, sse: SSE) -> None:
    """A name that no URL can give has no parameters."""
    sse.channel("rooms", "/rooms/<int:room>").fragment("list")(lambda room: "")
    channels = channels_of(app, sse)

    assert channels.values("rooms?room=7") == channels.known_values("rooms?room=7") == {"room": 7}
    assert channels.fragment_path("rooms?room=7", {"room": 7}, "list") == "/sse/~/list/rooms/7"
    assert channels.values("rooms?room=07") is channels.values("other") is None


def test_settings_of_a_stream_are_those_of_its_channels(app: Quart, sse: SSE) -> None:
    """Each channel counts once, with what it has of its own or with what the app has."""
    sse.channel("own", "/own", heartbeat=5, max_age=50, max_idle=40)
    sse.channel("other", "/other/<int:x>", heartbeat=7, retry=1)
    sse.channel("plain", "/plain")
    channels = channels_of(app, sse, Config(heartbeat=10.0, max_age=90.0, retry=2.0))

    assert channels.settings(["own"]) == (50.0, 40.0, 5.0, 2.0)
    assert channels.settings(["other?x=1", "other?x=2"]) == (90.0, float("inf"), 7.0, 1.0)
    assert channels.settings(["plain", "other?x=1", "own"]) == (50.0, 40.0, 5.0, 1.0)
    assert channels.heartbeats == {5.0, 7.0, 10.0}


def test_limits_are_the_channel_s_own(app: Quart, sse: SSE) -> None:
    """A topic of no channel has none."""
    sse.channel("own", "/own/<int:x>", max_connections=3, max_per_topic=2)
    sse.channel("plain", "/plain")
    channels = channels_of(app, sse)

    assert channels.limits("own?x=1") == ("own", 3, 2)
    assert channels.limits("plain") == ("plain", None, None)
    assert channels.limits("other") == ("", None, None)
