"""Names of channels, fragments, events and topics: what they may be, and the way back."""

import string
from html import escape

import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st

from quart_sse.errors import DeclarationError, EventError
from quart_sse.wire.naming import (
    check_event_name,
    check_name,
    member_key,
    parse_topic,
    selector,
    topic_name,
)

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,10}", fullmatch=True)
EVENT_NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,10}", fullmatch=True)
VALUES = st.text(max_size=15) | st.text("\"'`,: &=?%#+/\\]<>~.\n", max_size=10)
PARAMETERS = st.dictionaries(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True), VALUES, max_size=4
)


@pytest.mark.parametrize("name", ["comments", "a", "A", "x-1_Z", "sse-x", "Message"])
def test_name_of_letters_and_digits_is_taken(name: str) -> None:
    """A letter, then letters, digits, _ or - can name a channel or a fragment."""
    assert check_name("channel", name) == name


@pytest.mark.parametrize(
    "name", ["", "1a", "-a", "_a", "a.b", "a b", "a:b", "a,b", "a'", "a?", "é", "aé", "a\n", "~a"]
)
def test_other_name_raises_and_says_of_what(name: str) -> None:
    """Any other name is refused, with the kind of thing that it was to name."""
    with pytest.raises(DeclarationError, match="cannot name a channel"):
        check_name("channel", name)


@pytest.mark.parametrize(
    "name", ["added", "comment-added", "a.b", "Message", "messages", "opened", "errors", "sse"]
)
def test_event_name_is_taken(name: str) -> None:
    """A letter, then letters, digits, _, . or - can name an event, if it is not reserved."""
    assert check_event_name(name) == name


@pytest.mark.parametrize("name", ["", "1a", ".a", "a b", "a:b", "a,b", "é", "a\n", "a\r", "a\0"])
def test_other_event_name_raises(name: str) -> None:
    """Any other event name is refused before it reaches a stream."""
    with pytest.raises(EventError, match="cannot name an event"):
        check_event_name(name)


@pytest.mark.parametrize(
    "name",
    ["message", "open", "error", "sse-", "sse-open", "sse-stop", "sse-mine", "htmx", "htmx.load"],
)
def test_reserved_event_name_raises_and_names_another(name: str) -> None:
    """Names that mean something to browsers, to htmx or to us are refused, with one that works."""
    with pytest.raises(EventError, match=f"'app-{name}'") as raised:
        check_event_name(name)

    assert "is reserved" in str(raised.value)
    assert check_event_name(f"app-{name}") == f"app-{name}"


@pytest.mark.parametrize(
    ("values", "topic"),
    [
        ({}, "comments"),
        ({"discussion_id": "7"}, "comments?discussion_id=7"),
        ({"b": "1", "a": "2"}, "comments?a=2&b=1"),
        ({"q": ""}, "comments?q="),
        ({"q": "a/b c&d=e"}, "comments?q=a%2Fb%20c%26d%3De"),
        ({"q": "é'"}, "comments?q=%C3%A9%27"),
        ({"q": "~._-"}, "comments?q=~._-"),
    ],
)
def test_topic_has_one_name(values: dict[str, str], topic: str) -> None:
    """A topic's name has its parameters in the order of their names, percent-encoded."""
    assert topic_name("comments", values) == topic


@settings(deadline=None)
@given(channel=NAMES, values=PARAMETERS)
def test_topic_is_read_back(channel: str, values: dict[str, str]) -> None:
    """Channel and parameters are read from a topic's name, whatever the values hold."""
    assert parse_topic(topic_name(channel, values)) == (channel, values)


@settings(deadline=None)
@given(channel=NAMES, one=PARAMETERS, other=PARAMETERS)
def test_topics_differ_if_their_values_do(
    channel: str, one: dict[str, str], other: dict[str, str]
) -> None:
    """Two topics of a channel have one name only if all of their parameters are equal."""
    reordered = dict(reversed(one.items()))

    assert (topic_name(channel, one) == topic_name(channel, other)) == (one == other)
    assert topic_name(channel, reordered) == topic_name(channel, one)


@settings(deadline=None)
@given(text=st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    """Any text parses as a topic's name; whether the topic exists is judged later."""
    channel, values = parse_topic(text)

    assert text.startswith(channel)
    assert "?" not in channel
    assert all("=" not in name and "&" not in name for name in values)


@settings(deadline=None)
@given(channel=NAMES, member=EVENT_NAMES, values=PARAMETERS)
def test_keys_are_safe_in_markup_selectors_and_lists(
    channel: str, member: str, values: dict[str, str]
) -> None:
    """No quote, space, comma, colon or other special character is ever in a topic or a key."""
    topic = topic_name(channel, values)

    key = member_key(topic, member)

    allowed = set(string.ascii_letters + string.digits + "_.-~%?&=")
    assert set(topic) <= allowed
    assert set(key) <= allowed


@pytest.mark.parametrize(
    ("topic", "key"),
    [
        ("comments?discussion_id=7", "comments.list?discussion_id=7"),
        ("board", "board.list"),
        ("comments?a=1&b=%3F", "comments.list?a=1&b=%3F"),
    ],
)
def test_member_stands_behind_its_channel(topic: str, key: str) -> None:
    """A fragment's key, or an event's wire name, is the topic with the member in its middle."""
    assert member_key(topic, "list") == key


@settings(deadline=None)
@given(one=st.tuples(NAMES, NAMES, PARAMETERS), other=st.tuples(NAMES, NAMES, PARAMETERS))
def test_keys_differ_if_anything_does(
    one: tuple[str, str, dict[str, str]], other: tuple[str, str, dict[str, str]]
) -> None:
    """Two fragments share a key only if channel, fragment and parameters are all equal."""
    keys = [
        member_key(topic_name(channel, values), fragment)
        for channel, fragment, values in (one, other)
    ]

    assert (keys[0] == keys[1]) == (one == other)


@settings(deadline=None)
@given(channel=NAMES, fragment=NAMES, values=PARAMETERS)
def test_selector_finds_the_elements_of_its_key_alone(
    channel: str, fragment: str, values: dict[str, str]
) -> None:
    """A CSS engine finds by the selector exactly the elements that carry the key."""
    key = member_key(topic_name(channel, values), fragment)
    page = f'<i data-sse="{escape(key)}"></i><i data-sse="{escape(key)}x"></i><i></i>'

    found = BeautifulSoup(page, "html.parser").select(selector(key))

    assert [element["data-sse"] for element in found] == [key]
