"""Publish events, refreshes and pushes without an app; topics and workers use it."""

from .publisher import AsyncPublisher

__all__ = [
    "AsyncPublisher",
]
