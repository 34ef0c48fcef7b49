"""Coroutines in one step."""

import asyncio

import pytest

from quart_sse.publisher.steps import run


async def add(one: int, other: int) -> int:
    """Return a sum, at once."""
    return one + other


def test_coroutine_that_waits_for_nothing_returns() -> None:
    """Its result, or its error."""

    async def fail() -> None:
        await add(1, 2)
        raise KeyError("x")

    assert run(add(1, 2)) == 3
    with pytest.raises(KeyError):
        run(fail())


def test_coroutine_that_waits_is_an_error() -> None:
    """It is closed, and does not hang."""
    ended = []

    async def wait() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            ended.append(True)

    with pytest.raises(RuntimeError, match="event loop"):
        run(wait())
    assert ended == [True]
