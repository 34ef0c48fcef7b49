"""Carry messages through Redis 6.2 and later, or Valkey, between many processes and machines."""

from .blocking import BlockingLink
from .broker import RedisBroker
from .payload import FORMAT

__all__ = ["FORMAT", "BlockingLink", "RedisBroker"]
