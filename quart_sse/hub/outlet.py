"""Outlets: where the bytes of a stream can go at once, while its server waits for them."""

from typing import Protocol

from .batch import Batch


class Outlet(Protocol):
    """Takes batches of one stream without a turn of the stream's own task.

    A connection has one only while its server waits for bytes, so all earlier bytes were taken.
    """

    def write(self, batch: Batch) -> bool:
        """Write a batch.

        Returns:
            Whether it is written; if not, nothing of it is, and the connection is fed.
        """
