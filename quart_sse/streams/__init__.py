"""Streams: how a request becomes a stream, whatever the web framework.

This package is private: it may change in any release.
"""

from .connect import StreamEndpoints
from .renewal import Renewal
from .request import Viewers
from .response import HEADERS, StreamAnswer, StreamBody, Streams

__all__ = [
    "HEADERS",
    "Renewal",
    "StreamAnswer",
    "StreamBody",
    "StreamEndpoints",
    "Streams",
    "Viewers",
]
