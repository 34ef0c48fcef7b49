"""The desk: what is asked of the connections of a process is checked before anything happens."""

from typing import Any

import pytest

from quart_sse import ParameterError
from quart_sse.channels import Channel, Topic
from quart_sse.registry.desk import check_retry, name_of
from tests.support.sites import Site


@pytest.mark.parametrize("retry", [-1, True, float("nan"), float("inf"), "5", b"5", [1]])
def test_time_to_come_back_is_a_number_of_seconds(retry: Any) -> None:
    """None means never."""
    assert check_retry(None) is None
    assert check_retry(0) == 0
    with pytest.raises(ParameterError, match="retry"):
        check_retry(retry)


def test_topics_and_channels_are_given_by_themselves_or_by_name() -> None:
    """Each where it belongs."""
    site = Site("memory://")

    assert name_of(site.room(1), Topic) == name_of("rooms?room=1", Topic) == "rooms?room=1"
    assert name_of(site.rooms, Channel) == "rooms"
    assert name_of(None, Topic) is None
    for given, kind in ((site.rooms, Topic), (site.room(1), Channel), (7, str), (b"x", Topic)):
        with pytest.raises(ParameterError, match=f"is no {kind.__name__}"):
            name_of(given, kind)
