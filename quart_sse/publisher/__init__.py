"""Publishing without an app."""

from .publisher import AsyncPublisher

__all__ = [
    "AsyncPublisher",
]
