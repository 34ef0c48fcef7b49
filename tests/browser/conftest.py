"""What several tests of browsers use."""

from collections.abc import AsyncIterator

import pytest

from tests.support.browsers import serving
from tests.support.servers import Server


@pytest.fixture(params=[2, 4], ids=["htmx2", "htmx4"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """Return a server of either htmx."""
    async with serving(request.param) as server:
        yield server
