"""Run the coroutines of a publisher without an event loop."""

from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of a coroutine that blocks where others wait for an event loop.

    All that a publisher does is written once, as coroutines over a broker. Over a broker whose link
    to Redis blocks, such a coroutine ends in its first step.

    Args:
        work: The coroutine.

    Raises:
        Exception: Any exception of the coroutine.
    """
    try:
        work.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    work.close()
    raise RuntimeError("The coroutine waits for an event loop, and a blocking publisher has none.")
