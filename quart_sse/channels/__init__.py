"""What applications declare and use: channels, topics, and who is present."""

from .app_channels import AppChannels
from .channel import Binding, Channel, Published, Topic
from .presence import Presence, PresenceTracker

__all__ = [
    "AppChannels",
    "Binding",
    "Channel",
    "Presence",
    "PresenceTracker",
    "Published",
    "Topic",
]
