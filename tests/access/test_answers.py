"""Answers of an app's functions: awaited whatever they are, and taken only if they can be meant."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from quart import Quart, Response, abort, redirect
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.exceptions import abort as abort_with

from quart_sse import AnswerError
from quart_sse.callbacks import call, check_identity, decide, is_refusal


async def answer(value: object) -> object:
    """Answer as an async function does."""
    return value


async def answer_later(value: object) -> Awaitable[object]:
    """Answer with what has still to be awaited."""
    return answer(value)


class Answering:
    """An object that can be called like an async function."""

    async def __call__(self, value: object) -> object:
        """Answer."""
        return value


@pytest.mark.parametrize(
    "function",
    [
        lambda value: value,
        answer,
        lambda value: answer(value),
        answer_later,
        Answering(),
        functools.partial(answer),
        functools.partial(lambda value: answer(value)),
    ],
    ids=["sync", "async", "coroutine", "twice", "object", "partial", "partial of a coroutine"],
)
async def test_answer_is_awaited_until_it_is_one(
    app: Quart, function: Callable[[object], object]
) -> None:
    """A coroutine that is not awaited is truthy, and no answer."""
    assert await call(app, function, {"value": 7}) == 7


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
async def test_yes_or_no_is_taken(app: Quart, function: Callable[[], object], is_yes: bool) -> None:
    """Functions that guard views refuse by ``abort``, and do so here."""
    assert await decide(app, function, {}, "authorize of channel 'board'") is is_yes


@pytest.mark.parametrize(
    "value", [1, 0, "yes", "", ["ada"], redirect("/sign-in"), ("no", 403)], ids=repr
)
async def test_truthy_by_accident_is_no_answer(app: Quart, value: object) -> None:
    """The error names the function and the type of what it returned."""
    with pytest.raises(AnswerError, match=f"authorize .*'board'.* {type(value).__name__}"):
        await decide(app, lambda: value, {}, "authorize of channel 'board'")


@pytest.mark.parametrize("error", [ZeroDivisionError(), InternalServerError()], ids=repr)
async def test_failure_is_no_answer(app: Quart, error: Exception) -> None:
    """A database that is away has not said no."""
    with pytest.raises(type(error)):
        await decide(app, raises(error), {}, "authorize of channel 'board'")


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
