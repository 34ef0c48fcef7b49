"""Traffic: what the streams of a process were sent, counted once for each batch."""

from collections.abc import Iterable

from .batch import HEARTBEAT, Batch, Part


class Traffic:
    """Counts messages and bytes of all streams of one process.

    A batch is counted for all its streams when it goes out, so that a stream costs nothing. What a
    stream does otherwise, because its client is slow, it corrects by itself.
    """

    def __init__(self) -> None:
        self.delivered: int = 0  #: messages for streams; heartbeats and openings are none
        self.written: int = 0  #: bytes that the server was given
        self.conflated: int = 0  #: versions that streams were not sent, as a newer one came before
        self.dropped: int = 0  #: messages that streams were not sent, as they held too many

    def add(self, batch: Batch, streams: int = 1, joined: int = 0) -> None:
        """Count a batch that streams are fed.

        Args:
            batch: The batch.
            streams: Their number.
            joined: How many messages it was made of; 0 for those that it has.
        """
        number = messages(batch.parts)
        self.delivered += number * streams
        if joined > number:
            self.conflated += (joined - number) * streams
        if batch.data is not None:
            self.written += len(batch.data) * streams

    def buffer(self, batch: Batch) -> None:
        """Take the bytes back of a batch that a stream keeps; they count when it sends them."""
        if batch.data is not None:
            self.written -= len(batch.data)

    def lose(self, batch: Batch) -> None:
        """Take a batch back that came for a stream that had ended."""
        self.buffer(batch)
        self.delivered -= messages(batch.parts)

    def replace(self) -> None:
        """Count that a message took the place of one that a stream had not sent."""
        self.delivered -= 1
        self.conflated += 1

    def drop(self, number: int) -> None:
        """Count that a stream drops messages."""
        self.delivered -= number
        self.dropped += number


def messages(parts: Iterable[Part]) -> int:
    """Return the number of messages; heartbeats are none."""
    return sum(1 for part in parts if part.key != HEARTBEAT)


#: Of streams that no process has; what it counts is read by nothing.
UNCOUNTED = Traffic()
