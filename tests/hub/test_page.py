"""Pages: what the page of each token is sent, and what is left of it without a topic."""

from quart_sse.hub.page import Page

TWO = Page(("a?x=1", "b"), ("a?x=1", "b"), is_open=True, is_same=True, is_user=True)


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
    """Unless the app has added one, or it never had any."""
    one = TWO.without("b", (), is_refused=True)

    assert (one.granted, one.is_open) == (("a?x=1",), True)
    assert not one.without("a?x=1", (), is_refused=True).is_open
    assert one.without("a?x=1", {"c"}, is_refused=True).is_open
    assert not one._replace(is_same=False).without("a?x=1", {"c"}, is_refused=True).is_open
    assert one.without("a?x=1", (), is_refused=False).is_open
    assert Page((), (), True, True, True).without("a", (), is_refused=True).is_open


def test_position_leaves_out_a_topic() -> None:
    """By its place in the token's list; the user's bit is behind it."""
    assert TWO.mask_without("b", None) == 0b101
    assert TWO.mask_without("a?x=1", 0b101) == 0b100
    assert TWO.mask_without("c", None) is None
    assert TWO.mask_without("c", 0b11) == 0b11
    assert TWO._replace(is_user=False).mask_without("b", None) == 0b01
