"""What an event refreshes of its own channel."""

import pytest

from quart_sse import EventError
from quart_sse.broker import Keep
from quart_sse.publisher import Refresh, own_refreshes

KEEP = Keep(7, 1.5)


def test_fragments_are_those_of_the_topic() -> None:
    """Of a whole channel only if it has one topic."""
    topic = own_refreshes("a?id=1", "said", ["x", "y"], KEEP, is_single=False)
    single = own_refreshes("everyone?channel=a", "said", ["x"], KEEP, is_single=True)

    assert topic == [Refresh("a?id=1", "x", KEEP), Refresh("a?id=1", "y", KEEP)]
    assert single == [Refresh("a", "x", KEEP)]
    with pytest.raises(EventError, match=r"'said' refreshes 'x'.*a\.everyone is no topic"):
        own_refreshes("everyone?channel=a", "said", ["x"], KEEP, is_single=False)
