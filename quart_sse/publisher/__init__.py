"""Publish events, refreshes and pushes without an app; topics and workers use it.

This package is private: it may change in any release.
"""

from .asking import is_done
from .blocking import Publisher, PublisherChannel, PublisherTarget, PublisherTopic
from .declared import ChannelRecord, Declared, write
from .messages import MessagePublisher
from .publisher import AsyncPublisher
from .shell import Place, ShellPublisher
from .targets import AsyncPublisherChannel, AsyncPublisherTarget, AsyncPublisherTopic

__all__ = [
    "AsyncPublisher",
    "AsyncPublisherChannel",
    "AsyncPublisherTarget",
    "AsyncPublisherTopic",
    "ChannelRecord",
    "Declared",
    "MessagePublisher",
    "Place",
    "Publisher",
    "PublisherChannel",
    "PublisherTarget",
    "PublisherTopic",
    "ShellPublisher",
    "is_done",
    "write",
]
