"""Channels, topics and presence: what applications declare, publish to and refresh.

An app reaches all of it through ``sse.channel(...)``; the names below are also what the other wings
need of the declared channels.

This package is private: it may change in any release.
"""

from .announcer import Announcer
from .app_channels import AppChannels
from .binding import Binding
from .channel import Channel, Topic
from .declaration import Declaration
from .functions import AppFunctions
from .kept import KeptEvent
from .members import Members
from .options import ChannelOptions
from .people import Person, person_of
from .presence import Presence, PresenceTracker
from .refreshing import Refreshing
from .target import Everyone, Published, Target, User, WholeChannel, hooked

__all__ = [
    "Announcer",
    "AppChannels",
    "AppFunctions",
    "Binding",
    "Channel",
    "ChannelOptions",
    "Declaration",
    "Everyone",
    "KeptEvent",
    "Members",
    "Person",
    "Presence",
    "PresenceTracker",
    "Published",
    "Refreshing",
    "Target",
    "Topic",
    "User",
    "WholeChannel",
    "hooked",
    "person_of",
]
