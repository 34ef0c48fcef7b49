"""How far a process has come in the broker's order."""

from ..wire import ZERO, Id, Position
from .fragment import SharedFragment


class Progress:
    """Up to where a process has received messages, and has rendered what they ask for."""

    def __init__(self) -> None:
        self.epoch = ""
        self.seen: Id = ZERO  #: the newest id that came from the broker
        self._behind: set[SharedFragment] = set()

    @property
    def position(self) -> Position:
        """Position of a fully caught-up connection."""
        return Position(self.epoch, self.seen, self._rendered_up_to())

    @property
    def received(self) -> Position:
        """The position up to which messages were received, whatever is still to be rendered."""
        return Position(self.epoch, self.seen, self.seen)

    def wait_for(self, shared: SharedFragment) -> None:
        """Let positions stay where they are until a fragment's viewers are sent its HTML."""
        if shared.floor is not None:
            self._behind.add(shared)

    def stop_waiting(self, topics: frozenset[str]) -> None:
        """Wait no longer for fragments of these topics that no page shows any more."""
        for shared in self._behind:
            if shared.topic in topics and not shared.is_viewed():
                shared.mark_current()

    def _rendered_up_to(self) -> Id:
        """Return up to where every fragment is current that a page shows."""
        if not self._behind:
            return self.seen
        self._behind = {shared for shared in self._behind if shared.floor is not None}
        floors = (shared.floor for shared in self._behind if shared.floor is not None)
        return min(floors, default=self.seen)
