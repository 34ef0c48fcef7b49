"""Publish events, refreshes and pushes without an app; topics and workers use it.

This package is private: it may change in any release.
"""

from .messages import MessagePublisher

__all__ = [
    "MessagePublisher",
]
