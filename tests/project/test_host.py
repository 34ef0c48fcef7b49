"""The protocol of a web framework, and what is remembered of one request."""

import inspect
import time

import pytest

from quart_sse.host import Exchange, Host
from quart_sse.quart.host import QuartHost

MEMBERS = sorted(name for name in vars(Host) if not name.startswith("_"))


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("host", [QuartHost])
def test_host_has_each_member_of_the_protocol(host: type, name: str) -> None:
    """Arguments have the same names, for callers may give them by name."""
    asked, given = inspect.getattr_static(Host, name), inspect.getattr_static(host, name)

    assert type(given) is type(asked)
    if not isinstance(asked, property):
        assert list(inspect.signature(given).parameters) == list(
            inspect.signature(asked).parameters
        )
        assert inspect.iscoroutinefunction(given) == inspect.iscoroutinefunction(asked)


@pytest.mark.parametrize("host", [QuartHost])
def test_host_has_nothing_that_the_protocol_lacks(host: type) -> None:
    """What only one framework has cannot be used by the rest."""
    assert sorted(name for name in vars(host) if not name.startswith("_")) == MEMBERS


def test_exchanges_share_nothing() -> None:
    """Each request has what it has to do after its own answer."""
    before = time.monotonic()
    one, other = Exchange(None), Exchange(None)

    assert one.after == []
    assert one.after is not other.after
    assert before <= one.began <= time.monotonic()
    assert not one.is_identified
