"""The pytest plugin of quart_sse: the fixture ``live_page``.

pytest loads it in every run, so it imports nothing of ``quart_sse`` until a test uses the fixture;
that is why it does not stand inside the package.
"""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quart_sse.testing import LivePages


def _client_of(request: pytest.FixtureRequest) -> Any:
    """Return the test client, or the app, that the test's own fixtures give; None without."""
    for name in ("client", "app"):
        try:
            given = request.getfixturevalue(name)
        except pytest.FixtureLookupError as error:
            if error.argname != name:
                raise
        else:
            if name == "app" or (hasattr(given, "app") and hasattr(given, "request")):
                return given
    return None


@pytest.fixture
def live_page(request: pytest.FixtureRequest) -> "Iterator[LivePages]":
    """Return what opens live pages, which are left at the end of the test.

    ``page = await live_page("/discussion/7")`` opens one. They are pages of the fixture
    ``client``, a test client of Quart, else of a new client of the fixture ``app``. It is a plain
    fixture, so it needs no mode of pytest-asyncio and no backend of anyio.
    """
    from quart_sse.testing import LivePages

    pages = LivePages(_client_of(request))
    yield pages
    pages.finish()
