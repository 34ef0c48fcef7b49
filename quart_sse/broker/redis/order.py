"""The one order of all messages, as far as this process knows it."""

from ...position import Id, Position, new_epoch
from .commands import IdRequest


class Order:
    """The newest position that this process has heard of, and requests for the next id.

    Args:
        clock_offset_ms: Added to the server's clock, in milliseconds; for tests.
    """

    def __init__(self, clock_offset_ms: int = 0) -> None:
        self.clock_offset_ms = clock_offset_ms
        #: replication id of the server to which the subscription last connected
        self.replid = ""
        self._known: Position | None = None

    @property
    def known(self) -> Position | None:
        """The newest position that this process has heard of; None if it has heard of none."""
        return self._known

    def learn(self, epoch: str, id: Id) -> Position:
        """Learn an id that Redis has assigned, and return the newest position."""
        known = self._known
        if known is None or known.epoch != epoch or known.events < id:
            known = self._known = Position(epoch, id, id)
        return known

    def restart(self, epoch: str, id: Id) -> None:
        """Learn the first known id of another epoch, whatever was known of it before."""
        self._known = Position(epoch, id, id)

    def request(self, *, compare: bool = False) -> IdRequest:
        """Return the arguments with which a script takes the next id.

        Args:
            compare: Whether another epoch begins if the data set was made by another server.
        """
        return IdRequest(new_epoch(), self.replid, compare, self.clock_offset_ms)
