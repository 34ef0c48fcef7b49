"""What this process knows of the one order of all messages."""

from ...position import Id, Position, new_epoch
from .commands import IdRequest


class Order:
    """The position that this process has heard of, and what it takes to be given the next id.

    Args:
        clock_offset_ms: Added to the server's clock, in milliseconds; for tests.
    """

    def __init__(self, clock_offset_ms: int = 0) -> None:
        self.clock_offset_ms = clock_offset_ms
        self.replid = ""  #: of the server, when the subscription was last connected
        self._known: Position | None = None

    @property
    def known(self) -> Position | None:
        """The newest position that this process has heard of, from anywhere."""
        return self._known

    def learn(self, epoch: str, id: Id) -> Position:
        """Note an id that has come from Redis, and return the newest position."""
        known = self._known
        if known is None or known.epoch != epoch or known.events < id:
            known = self._known = Position(epoch, id, id)
        return known

    def restart(self, epoch: str, id: Id) -> None:
        """Note that another data set was begun, in which this is what has been heard of."""
        self._known = Position(epoch, id, id)

    def request(self, *, compare: bool = False) -> IdRequest:
        """Return what a script needs to take an id.

        Args:
            compare: Whether the data set must have been made on this server; else another epoch
                begins.
        """
        return IdRequest(new_epoch(), self.replid, compare, self.clock_offset_ms)
