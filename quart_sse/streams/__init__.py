"""Streams: how a request becomes a stream, whatever the web framework.

This package is private: it may change in any release.
"""

from .connect import StreamEndpoints
from .feeding import BlockingOwnStream, OwnStream
from .initial import Initials
from .jobs import Jobs
from .renewal import Renewal
from .replacing import Replacing
from .request import Viewers, last_event_id
from .response import HEADERS, OwnBody, StreamAnswer, StreamBody, Streams
from .source import ResumableSource, Source, StreamSource, source_of

__all__ = [
    "HEADERS",
    "BlockingOwnStream",
    "Initials",
    "Jobs",
    "OwnBody",
    "OwnStream",
    "Renewal",
    "Replacing",
    "ResumableSource",
    "Source",
    "StreamAnswer",
    "StreamBody",
    "StreamEndpoints",
    "StreamSource",
    "Streams",
    "Viewers",
    "last_event_id",
    "source_of",
]
