"""Pages: what the page of each token is sent, and what is left of it without a topic."""

from quart_sse.hub.page import Page

BOTH = ("a?x=1", "b")
TWO = Page(BOTH, BOTH, is_open=True, is_same=True, is_user=True, is_bound=True)


def test_names_are_topics_and_audiences() -> None:
    """Each once, topics first, and what the app has added last."""
    assert TWO.names({"c"}) == ["a?x=1", "b", "everyone", "a", "c", "connection", "user"]
    assert TWO._replace(is_user=False, is_same=False).names({"c"}) == [
        "a?x=1",
        "b",
        "everyone",
        "a",
    ]
    assert TWO._replace(is_open=False).names({"c"}) == []
    assert TWO.names({"b"}).count("b") == 1


def test_page_closes_with_its_last_topic() -> None:
    """If its client is told so, unless the app has added one, or it never had any."""
    one = TWO.without({"b"}, (), "b")

    assert (one.granted, one.is_open) == (("a?x=1",), True)
    assert not one.without({"a?x=1"}, (), "a?x=1").is_open
    assert one.without({"a?x=1"}, {"c"}, "a?x=1").is_open
    assert not one._replace(is_same=False).without({"a?x=1"}, {"c"}, "a?x=1").is_open
    assert one.without({"a?x=1"}, ()).is_open
    assert Page((), (), True, True, True, True).without({"a"}, (), "a").is_open
    assert one.without(BOTH, ()).without({"c"}, (), "c").is_open


def test_mask_leaves_out_what_the_page_is_not_sent() -> None:
    """By its place in the token's list; the user's bit is behind it."""
    assert TWO.mask is None
    assert TWO.without({"b"}, ()).mask == 0b101
    assert TWO.without({"c"}, ()).mask is None
    assert TWO.without(BOTH, ()).mask == 0b100
    # Made for a user, while the client is another one.
    other = TWO._replace(is_same=False, is_user=False)
    assert (other.mask, other.without({"b"}, ()).mask) == (0b11, 0b01)
    anyone = other._replace(is_bound=False)
    assert (anyone.mask, anyone.without({"a?x=1"}, ()).mask) == (None, 0b10)
