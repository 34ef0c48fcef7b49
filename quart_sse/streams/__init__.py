"""Streams: how a request becomes a stream, whatever the web framework.

This package is private: it may change in any release.
"""

from .connect import StreamEndpoints
from .initial import Initials
from .renewal import Renewal
from .replacing import Replacing
from .request import Viewers
from .response import HEADERS, StreamAnswer, StreamBody, Streams

__all__ = [
    "HEADERS",
    "Initials",
    "Renewal",
    "Replacing",
    "StreamAnswer",
    "StreamBody",
    "StreamEndpoints",
    "Streams",
    "Viewers",
]
