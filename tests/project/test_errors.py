"""Errors: one root, a builtin class beside it, and messages that end with the remedy."""

import inspect

import pytest

import quart_sse
from quart_sse import errors
from quart_sse.errors import (
    BrokerUnavailable,
    ConfigError,
    MissingSecretKeyError,
    SSEError,
    UnknownChannelError,
    UnknownFragmentError,
    without_password,
)

ALL = [
    error
    for _, error in inspect.getmembers(errors, inspect.isclass)
    if error.__module__ == errors.__name__ and error is not SSEError
]


@pytest.mark.parametrize("error", ALL)
def test_error_has_the_root_and_a_builtin_class(error: type[Exception]) -> None:
    """Every error is caught by SSEError, and by what a caller would catch without knowing us."""
    assert issubclass(error, SSEError)
    assert issubclass(error, (ValueError, TypeError, LookupError, RuntimeError, AssertionError))


def test_errors_are_found() -> None:
    """The test above sees the errors of the module."""
    assert {ConfigError, BrokerUnavailable, MissingSecretKeyError} <= set(ALL)


def test_root_is_public() -> None:
    """An application can catch everything by one public name."""
    assert quart_sse.SSEError is SSEError
    assert SSEError.__bases__ == (Exception,)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ConfigError("QUART_SSE_HTMX", "3", "2 or 4"),
            "QUART_SSE_HTMX is '3'. It must be 2 or 4.",
        ),
        (
            UnknownChannelError("nws", ["stock", "news"]),
            (
                "Unknown channel 'nws'. Did you mean 'news'? Declared: 'news', 'stock'. "
                "Declare it with sse.channel('nws', rule)."
            ),
        ),
        (
            UnknownChannelError("nothing", ["news"]),
            (
                "Unknown channel 'nothing'. Declared: 'news'. "
                "Declare it with sse.channel('nothing', rule)."
            ),
        ),
        (
            UnknownChannelError("news", []),
            "Unknown channel 'news'. Declared: none. Declare it with sse.channel('news', rule).",
        ),
        (
            UnknownFragmentError("news", "lst", iter(["list", "count"])),
            (
                "Channel 'news' has no fragment 'lst'. Declared: 'count', 'list'. "
                "Declare it with @news.fragment('lst')."
            ),
        ),
    ],
)
def test_message_names_the_thing_then_the_remedy(error: Exception, message: str) -> None:
    """A message says what is wrong, what there is instead, and what to do."""
    assert str(error) == message


def test_missing_key_names_both_remedies() -> None:
    """Without a secret key one can set it, or declare public channels."""
    message = str(MissingSecretKeyError())

    assert message.startswith("app.secret_key is not set")
    assert "Set app.secret_key" in message
    assert "public=True" in message


def test_unavailable_broker_says_whether_it_may_have_published() -> None:
    """Who publishes an event learns whether trying again could publish it twice."""
    certain = BrokerUnavailable("Redis is away.")
    uncertain = BrokerUnavailable("No answer.", maybe_published=True)

    assert (str(certain), certain.maybe_published) == ("Redis is away.", False)
    assert (str(uncertain), uncertain.maybe_published) == ("No answer.", True)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("reddis://:secret@host", "reddis://...@host"),
        ("redis://user:sec/ret@host/1", "redis://...@host/1"),
        ("redis://:sec#ret?se@cret@host", "redis://...@host"),
        ("redis:/:secret@host", "...@host"),
        ("redis://host?password=secret&db=1", "redis://host?password=...&db=1"),
        ("redis://host/1", "redis://host/1"),
    ],
)
def test_wrong_url_does_not_show_its_password(url: str, shown: str) -> None:
    """A password in a mistyped URL does not reach the log, also one that should be encoded."""
    error = ConfigError("QUART_SSE_BROKER_URL", url, "a URL")

    assert "sec" not in str(error)
    assert f" is '{shown}'. " in str(error)
    assert without_password(url) == shown
