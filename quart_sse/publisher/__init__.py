"""Publish events, refreshes and pushes without an app; topics and workers use it.

This package is private: it may change in any release.
"""

from .asking import is_done
from .blocking import Publisher, PublisherChannel, PublisherTarget, PublisherTopic
from .declared import ChannelRecord, Declared, write
from .event_type import Data, Declares, EventType, check_text, event_name
from .messages import Encoded, MessagePublisher
from .publisher import AsyncPublisher
from .refreshes import Refresh, check_one_list, own_refreshes
from .schema import Schema
from .shell import Place, ShellPublisher
from .targets import AsyncPublisherChannel, AsyncPublisherTarget, AsyncPublisherTopic

__all__ = [
    "AsyncPublisher",
    "AsyncPublisherChannel",
    "AsyncPublisherTarget",
    "AsyncPublisherTopic",
    "ChannelRecord",
    "Data",
    "Declared",
    "Declares",
    "Encoded",
    "EventType",
    "MessagePublisher",
    "Place",
    "Publisher",
    "PublisherChannel",
    "PublisherTarget",
    "PublisherTopic",
    "Refresh",
    "Schema",
    "ShellPublisher",
    "check_one_list",
    "check_text",
    "event_name",
    "is_done",
    "own_refreshes",
    "write",
]
