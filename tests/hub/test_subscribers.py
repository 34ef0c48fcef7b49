"""Subscribers: which connections of a process listen to a topic, and which show a fragment."""

import gc
from collections.abc import Callable, Sized

import pytest

from quart_sse.config import Config
from quart_sse.hub.connection import Connection
from quart_sse.hub.group import Group
from quart_sse.hub.subscribers import Subscribers, TopicSubscribers

LINGER = 5.0
#: Number of topics, more than CPython keeps tuples to be used again.
MANY = 3000


def group(*fragments: str, topic: str = "board", root: str = "", members: int = 0) -> Group:
    """Return a group of connections that show fragments of a topic."""
    made = Group({topic: frozenset(fragments)}, bare=False, granted=None, root=root)
    for _ in range(members):
        made.members.add(Connection(made.subscription, Config(), loader=lambda _: b""))
    return made


def test_topic_is_known_while_a_group_listens_and_a_while_longer() -> None:
    """A client that goes from page to page leaves no topic, so that none is subscribed twice."""
    subscribers, one, other = Subscribers(), group("list"), group("count")
    subscribers.add(one)
    subscribers.add(other)
    subscribers.remove(one, now=10.0)

    assert subscribers.drop_empty(now=100.0, linger=LINGER) == []
    subscribers.remove(other, now=100.0)
    assert subscribers.drop_empty(now=100.0 + LINGER - 1, linger=LINGER) == []
    assert subscribers.drop_empty(now=100.0 + LINGER, linger=LINGER) == ["board"]
    assert not subscribers


def test_topic_that_finds_a_listener_again_is_kept() -> None:
    """The time without listeners counts from the last time that they left."""
    subscribers, listeners = Subscribers(), group()
    for now in (0.0, 50.0):
        subscribers.add(listeners)
        subscribers.remove(listeners, now=now)

    assert subscribers.drop_empty(now=50.0, linger=LINGER) == []


def test_topic_is_kept_for_clients_that_were_sent_back() -> None:
    """What is known of a topic is needed when they return, however short the linger is."""
    subscribers, listeners = Subscribers(), group()
    subscribers.add(listeners)
    subscribers.remove(listeners, now=0.0)
    subscribers["board"].kept_until = 20.0

    assert subscribers.drop_empty(now=19.0, linger=0.0) == []
    assert subscribers.drop_empty(now=20.0, linger=0.0) == ["board"]


def test_group_that_left_already_may_leave_again() -> None:
    """Also when its topic has been forgotten since."""
    subscribers, listeners = Subscribers(), group()
    subscribers.add(listeners)
    subscribers.remove(listeners, now=0.0)
    subscribers.drop_empty(now=0.0, linger=0.0)
    subscribers.remove(listeners, now=0.0)

    assert not subscribers


async def test_connections_of_all_groups_are_counted() -> None:
    """A group is of one kind of page; a topic has those of all."""
    subscribers, one, other = Subscribers(), group("list", members=2), group("count", members=1)
    subscribers.add(one)
    subscribers.add(other)
    of_topic = subscribers["board"]

    assert of_topic.count == 3
    assert set(of_topic.connections) == one.members | other.members


@pytest.mark.parametrize(
    ("fragment", "root", "is_shown"),
    [
        ("list", "", True),
        ("item", "", True),
        ("count", "", False),
        ("list", "/app", False),
        ("list", None, True),
    ],
)
def test_fragment_is_for_pages_that_show_it_or_what_contains_it(
    fragment: str, root: str | None, is_shown: bool
) -> None:
    """Pages below another root path have HTML of their own."""
    subscribers, pages = TopicSubscribers("board"), group("list")
    subscribers.groups.add(pages)
    subscribers.put_inside("item", "list", "")

    assert subscribers.showing(fragment, root) == ([pages] if is_shown else [])


def test_topic_that_has_no_listeners_has_no_pages() -> None:
    """A render for it would be for no page."""
    assert Subscribers().showing("board", "list", "") == []


def test_what_a_fragment_contains_is_new_once_for_each_root_path() -> None:
    """The first render below a root path that shows it may come too late for a change inside."""
    subscribers = TopicSubscribers("board")

    assert subscribers.put_inside("item", "list", "")
    assert not subscribers.put_inside("item", "list", "")
    assert subscribers.put_inside("item", "list", "/app")
    assert subscribers.put_inside("item", "table", "")
    assert subscribers.with_nested(frozenset({"list"})) == {"list", "item"}
    assert subscribers.with_nested(frozenset({"count"})) == {"count"}


def test_nesting_below_a_root_path_goes_with_it() -> None:
    """A root path comes from requests, so what is known of it must have an end."""
    subscribers = TopicSubscribers("board")
    for root in ("", "/app"):
        subscribers.put_inside("item", "list", root)
    subscribers.keep_roots({""})

    assert not subscribers.put_inside("item", "list", "")
    assert subscribers.put_inside("item", "list", "/app")


def test_shown_without_gives_fragments_of_pages_that_do_not_show_one() -> None:
    """One of them may turn out to contain it."""
    subscribers = TopicSubscribers("board")
    subscribers.groups.update({group("list", "count"), group("table")})

    assert subscribers.shown_without("list") == {"table"}
    assert subscribers.shown_without("item") == {"list", "count", "table"}


@pytest.mark.parametrize("ask", [Subscribers.counts, Subscribers.of_channel])
def test_other_threads_may_ask_while_topics_come(ask: Callable[[Subscribers, str], Sized]) -> None:
    """They run whenever the collector does, as a part of it may be written in Python."""
    subscribers = Subscribers()
    for number in range(MANY):
        subscribers.add(group(topic=f"board?number={number}"))
    came = 0

    def come(phase: str, info: object) -> None:
        nonlocal came
        came += 1
        subscribers.keep(f"other?number={came}", until=0.0)

    before = gc.get_threshold()
    gc.callbacks.append(come)
    gc.set_threshold(1)
    try:
        found = ask(subscribers, "board")
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(come)

    assert came
    assert len(found) == MANY
