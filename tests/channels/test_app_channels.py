"""The channels of one app: found by a topic, with the app's settings and its URLs."""

import pytest
from quart import Quart

from quart_sse import SSE
from quart_sse.broker import Keep
from quart_sse.channels import AppChannels


@pytest.fixture
def channels(app: Quart) -> AppChannels:
    """Those of an app with a public channel and a guarded one."""
    app.config.update(QUART_SSE_HISTORY=7, QUART_SSE_HISTORY_TTL=60.0)
    sse = SSE(app)
    rooms = sse.channel("rooms", "/rooms/<int:room>", public=True)
    rooms.fragment("list")(lambda room: "list")
    rooms.fragment("count")(lambda room: "count")
    sse.channel("staff", "/staff", history=0)
    return sse._current.channels


def test_channel_is_found_by_the_name_of_a_topic(channels: AppChannels) -> None:
    """A topic's name begins with it, whatever parameters follow."""
    rooms = channels.get("rooms")

    assert rooms is not None
    assert channels.of("rooms?room=7") is channels.known("rooms?room=7") is rooms
    assert channels.of("rooms") is rooms
    assert channels.of("attic?room=7") is None
    assert channels.get("rooms?room=7") is None


def test_fragments_of_a_topic_are_those_of_its_channel(channels: AppChannels) -> None:
    """Another release may have declared what this process does not know."""
    spec = channels.spec("rooms?room=7", "list")

    assert spec is not None
    assert spec.name == "list"
    assert [each.name for each in channels.specs("rooms?room=7")] == ["list", "count"]
    assert channels.spec("rooms?room=7", "nothing") is None
    assert channels.spec("attic", "list") is None
    assert channels.specs("attic") == []


def test_history_is_that_of_the_channel_or_of_the_app(channels: AppChannels) -> None:
    """Of a topic that no channel has, nothing is kept."""
    assert channels.keep("rooms?room=7") == Keep(7, 60.0)
    assert channels.keep("staff") == Keep(0, 60.0)
    assert channels.keep("attic") == Keep(0, 60.0)


@pytest.mark.parametrize(
    ("topics", "is_private"),
    [
        (["rooms?room=7"], False),
        (["rooms?room=7", "staff"], True),
        (["attic"], True),
        ([], False),
    ],
    ids=str,
)
def test_topics_are_private_unless_all_are_known_to_be_public(
    channels: AppChannels, topics: list[str], is_private: bool
) -> None:
    """A page that holds a token for them must not be kept by a shared cache."""
    assert channels.is_private(topics) is is_private


def test_app_has_something_private_with_a_guarded_channel_or_a_personal_fragment(
    app: Quart,
) -> None:
    """An app without either needs no secret key."""
    sse = SSE(app)
    rooms = sse.channel("rooms", "/rooms", public=True)
    rooms.fragment("list")(lambda: "list")
    channels = sse._current.channels

    assert not channels.are_private
    rooms.fragment("mine", personal=True)(lambda: "mine")
    assert channels.are_private


def test_parameters_come_back_from_the_name_of_a_topic(channels: AppChannels) -> None:
    """A name may come from anyone, so that only the one way to write it is taken."""
    assert channels.values("rooms?room=7") == channels.known_values("rooms?room=7") == {"room": 7}
    assert channels.values("rooms?room=07") is None
    assert channels.values("attic?room=7") is None


def test_fragment_has_a_path_below_the_prefix(channels: AppChannels) -> None:
    """The root path of a request is not in it, for it is for all pages."""
    assert channels.fragment_path("rooms?room=7", "list") == "/sse/~/list/rooms/7"


def test_channel_that_is_declared_later_is_found(app: Quart) -> None:
    """An app may serve already when it is imported."""
    sse = SSE(app)
    channels = sse._current.channels
    late = sse.channel("late", "/late")

    assert channels.of("late") is late
