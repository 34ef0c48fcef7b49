"""What is declared of a channel, which users of the extension do not see."""

import inspect

import pytest
from quart import Quart

from quart_sse import SSE, Channel, Config, DeclarationError, ParameterError, UnknownFragmentError
from quart_sse.broker import Keep
from quart_sse.channels import ChannelOptions, Declaration
from quart_sse.channels.declaration import Fragment
from quart_sse.hub import FragmentSpec


def declare(rule: str = "/rooms/<int:room>", *, public: bool = False) -> Declaration:
    """Return what is declared of a channel without fragments."""
    return Declaration("rooms", rule, ChannelOptions(public=public, history=3))


def test_channel_shows_only_what_applications_call() -> None:
    """What other wings work with is in its declaration."""
    shown = {name for name, _ in inspect.getmembers(Channel) if not name.startswith("_")}

    assert shown == {
        *("authorize", "event", "fragment", "initial", "item", "refresh_on", "validate"),
        *("on_connect", "on_disconnect", "on_join", "on_leave"),
        *("name", "public", "rule"),
        *("topic", "topics", "everyone", "close", "record"),
    }


def test_fragments_are_found_and_sorted_by_who_sees_them() -> None:
    """A fragment that was not declared is an error that lists those that were."""
    rooms = declare()
    for spec in (FragmentSpec("list"), FragmentSpec("mine", personal=True)):
        rooms.check(spec)
        rooms.fragments[spec.name] = Fragment(spec, lambda room: "")

    assert rooms.find("list").spec is rooms.specs["list"]
    assert rooms.shared == {"list"}
    with pytest.raises(UnknownFragmentError, match="'list', 'mine'"):
        rooms.find("count")


@pytest.mark.parametrize(
    "spec",
    [
        FragmentSpec("list"),
        FragmentSpec("a b"),
        FragmentSpec("new", every=0.0),
        FragmentSpec("new", every=1.0, personal=True),
        FragmentSpec("new", debounce=-1.0),
        FragmentSpec("new", debounce=float("inf")),
    ],
    ids=repr,
)
def test_fragment_that_cannot_be_declared_is_refused(spec: FragmentSpec) -> None:
    """Before its renderer is known, so that the error stands where the decorator does."""
    rooms = declare()
    rooms.fragments["list"] = Fragment(FragmentSpec("list"), lambda room: "")

    with pytest.raises(DeclarationError):
        rooms.check(spec)


def test_history_is_its_own_where_it_was_declared() -> None:
    """What was left out is the app's."""
    assert declare().keep(Config(history=9, history_ttl=90.0)) == Keep(3, 90.0)


def test_authorize_is_registered_once_and_never_for_a_public_channel() -> None:
    """Two functions would each have the last word."""
    rooms = declare()
    rooms.set_authorizer(lambda room: True)

    with pytest.raises(DeclarationError, match="already"):
        rooms.set_authorizer(lambda room: False)
    with pytest.raises(DeclarationError, match="public=True"):
        declare(public=True).set_authorizer(lambda room: True)


def test_parameters_select_a_topic(app: Quart, sse: SSE) -> None:
    """Their URL says what they are; another value than was given is an error."""
    sse.channel("rooms", "/rooms/<int:room>")
    rooms = declare()

    assert rooms.select(app.url_map, {"room": 7}) == ("rooms?room=7", {"room": 7})
    for params in ({}, {"room": 7, "seat": 1}, {"room": "7"}, {"room": True}, {"room": -1}):
        with pytest.raises(ParameterError):
            rooms.select(app.url_map, params)
