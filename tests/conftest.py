"""Fixtures that several test files use."""

import pytest
from quart import Quart

from quart_sse import SSE


@pytest.fixture
def app() -> Quart:
    """An app that can sign."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    return app


@pytest.fixture
def sse(app: Quart) -> SSE:
    """The extension, initialised for ``app``."""
    return SSE(app)
