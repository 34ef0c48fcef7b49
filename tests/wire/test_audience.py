"""Audiences: topics that connections listen to by who they are."""

from hypothesis import given
from hypothesis import strategies as st

from quart_sse.wire.audience import (
    EVERYONE,
    channel_of,
    channel_topic,
    event_key,
    identity_of,
    is_audience,
    public_name,
    user_topic,
)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_identity_comes_back_from_its_topic(identity: str) -> None:
    """Whatever it is; no two users share a topic, and clients are shown none of it."""
    topic = user_topic(identity)

    assert identity_of(topic) == identity
    assert topic.isascii()
    assert is_audience(topic)
    assert channel_of(topic) is None
    assert public_name(topic) == "user"
    assert event_key(topic, "saved") == "user.saved"


def test_channel_comes_back_from_its_audience() -> None:
    """Its events look like those of its topics, without parameters."""
    topic = channel_topic("comments")

    assert channel_of(topic) == "comments"
    assert identity_of(topic) is None
    assert is_audience(topic)
    assert event_key(topic, "closed") == "comments.closed"
    assert event_key(EVERYONE, "closed") == "everyone.closed"
    assert channel_of(EVERYONE) is identity_of(EVERYONE) is None


def test_topics_of_channels_are_none() -> None:
    """Also of those whose names begin alike."""
    for topic in ("users", "user", "everyone2", "everyones?channel=x", "news?room=7"):
        assert not is_audience(topic)
        assert public_name(topic) == topic
    assert event_key("news?room=7", "said") == "news.said?room=7"
