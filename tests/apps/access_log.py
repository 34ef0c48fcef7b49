"""The app of the server tests, with the tokens of its streams hidden in the access logs."""

import logging
import os

from quart_sse import HideTokens
from tests.apps.server import app

__all__ = ["app"]

if "SHOWN" not in os.environ:
    for name in ("hypercorn.access", "uvicorn.access", "gunicorn.access", "granian.access"):
        logging.getLogger(name).addFilter(HideTokens())
