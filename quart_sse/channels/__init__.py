"""Channels, topics and presence: what applications declare, publish to and refresh.

An app reaches all of it through ``sse.channel(...)``; the names below are also what the other wings
need of the declared channels.

This package is private: it may change in any release.
"""

from .app_channels import AppChannels
from .channel import Binding, Channel, Published, Topic
from .declaration import Declaration
from .options import ChannelOptions
from .presence import Presence, PresenceTracker

__all__ = [
    "AppChannels",
    "Binding",
    "Channel",
    "ChannelOptions",
    "Declaration",
    "Presence",
    "PresenceTracker",
    "Published",
    "Topic",
]
