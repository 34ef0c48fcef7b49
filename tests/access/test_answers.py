"""Answers of an app's functions: only those that can be meant are taken."""

from collections.abc import Callable
from typing import Any

import pytest
from quart import Quart, Response, abort, redirect
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.exceptions import abort as abort_with

from quart_sse import AnswerError
from quart_sse.access.answers import check_identity, decide, is_refusal
from quart_sse.config import Config
from quart_sse.host import Host
from quart_sse.quart.host import QuartHost


@pytest.fixture
def host(app: Quart) -> Host:
    """The framework, which calls the app's functions."""
    return QuartHost(app, Config(), lambda: None)


def raises(error: Exception) -> Callable[[], object]:
    """Return a function that raises."""

    def function() -> object:
        raise error

    return function


@pytest.mark.parametrize(
    ("function", "is_yes"),
    [
        (lambda: True, True),
        (lambda: False, False),
        (lambda: None, False),
        (lambda: abort(403), False),
        (lambda: abort(404), False),
        (lambda: abort_with(Response(status=302)), False),
    ],
    ids=["True", "False", "None", "403", "404", "redirect"],
)
async def test_yes_or_no_is_taken(host: Host, function: Callable[[], object], is_yes: bool) -> None:
    """Functions that guard views refuse by ``abort``, and do so here."""
    assert await decide(host, function, {}, "authorize of channel 'board'") is is_yes


@pytest.mark.parametrize(
    "value", [1, 0, "yes", "", ["ada"], redirect("/sign-in"), ("no", 403)], ids=repr
)
async def test_truthy_by_accident_is_no_answer(host: Host, value: object) -> None:
    """The error names the function and the type of what it returned."""
    with pytest.raises(AnswerError, match=f"authorize .*'board'.* {type(value).__name__}"):
        await decide(host, lambda: value, {}, "authorize of channel 'board'")


@pytest.mark.parametrize("error", [ZeroDivisionError(), InternalServerError()], ids=repr)
async def test_failure_is_no_answer(host: Host, error: Exception) -> None:
    """A database that is away has not said no."""
    with pytest.raises(type(error)):
        await decide(host, raises(error), {}, "authorize of channel 'board'")


@pytest.mark.parametrize(
    ("argument", "is_no"),
    [
        (400, True),
        (403, True),
        (499, True),
        (Response(status=302), True),
        (Response(status=403), True),
        (Response(status=200), False),
        (500, False),
        (503, False),
    ],
    ids=lambda value: str(getattr(value, "status_code", value)),
)
def test_error_of_http_may_be_a_no(argument: Any, is_no: bool) -> None:
    """Redirects and the client's errors are; those of the server are failures."""
    if argument == 499:
        error = HTTPException()
        error.code = 499
    else:
        with pytest.raises(HTTPException) as caught:
            abort_with(argument)
        error = caught.value

    assert is_refusal(error) is is_no


@pytest.mark.parametrize("identity", [None, "ada", " ", "0"])
def test_identity_is_a_text_that_is_not_empty(identity: str | None) -> None:
    """None is a visitor who is not signed in."""
    assert check_identity(identity, "It was") == identity


@pytest.mark.parametrize(
    ("given", "shown"), [("", "''"), (7, "int"), (b"ada", "bytes"), (False, "bool"), ([], "list")]
)
def test_what_is_no_identity_is_named(given: object, shown: str) -> None:
    """All visitors would share ``""``, and numbers of different tables are one."""
    with pytest.raises(AnswerError, match=rf"^It was {shown}\."):
        check_identity(given, "It was")
