"""A process's position in the broker's order."""

from ..wire import ZERO, Id, Position
from .fragment import SharedFragment


class Progress:
    """How far a process has received messages, and how far its pages' fragments are current."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin without having received anything."""
        self.epoch = ""
        self.seen: Id = ZERO  #: id of the newest message received or caught up with
        self._behind: set[SharedFragment] = set()

    @property
    def position(self) -> Position:
        """Position of a fully caught-up connection."""
        return Position(self.epoch, self.seen, self._rendered_up_to())

    @property
    def received(self) -> Position:
        """Position up to which messages were received, whether rendered or not."""
        return Position(self.epoch, self.seen, self.seen)

    def wait_for(self, shared: SharedFragment) -> None:
        """Hold positions' fragments back until the viewers of a fragment have its HTML."""
        if shared.floor is not None:
            self._behind.add(shared)

    def stop_waiting(self, topics: frozenset[str]) -> None:
        """Stop waiting for fragments of these topics that no page shows any more."""
        for shared in self._behind:
            if shared.topic in topics and not shared.is_viewed():
                shared.mark_current()

    def _rendered_up_to(self) -> Id:
        """Return the id up to which every fragment on a page is current."""
        if not self._behind:
            return self.seen
        self._behind = {shared for shared in self._behind if shared.floor is not None}
        floors = (shared.floor for shared in self._behind if shared.floor is not None)
        return min(floors, default=self.seen)
