"""Tests that users write: pages that are live in a test, and what an app has published.

This package is public; ``docs/testing.md`` shows how its parts go together.
"""

from .browser import until_live
from .captured import Captured, CapturedEvent, CapturedFragment, CapturedNotification, capture
from .fixture import LivePages
from .listening import ReceivedEvent
from .opening import live
from .page import LivePage

__all__ = [
    "Captured",
    "CapturedEvent",
    "CapturedFragment",
    "CapturedNotification",
    "LivePage",
    "LivePages",
    "ReceivedEvent",
    "capture",
    "live",
    "until_live",
]
