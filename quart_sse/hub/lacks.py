"""What somebody lacks who starts at a position: the rules for fragments, without any state."""

from collections.abc import Mapping

from ..broker import Kind, Message, Replay, Start
from ..wire import Id
from .fragment import FragmentSpec

#: A personal fragment changed this shortly before a client left is signalled again when it comes
#: back: its fetch may have failed in the very deploy that cut the stream.
PERSONAL_AGAIN_MS = 60_000


def lacks(spec: FragmentSpec, start: Start, change: Id | None, topic: str, replay: Replay) -> bool:
    """Whether a client that starts there has to be sent a fragment.

    Args:
        spec: How the fragment was declared.
        start: Where the client starts.
        change: The fragment's last change; None if none is on record.
        topic: The fragment's topic.
        replay: What the broker said.
    """
    if start.now:
        return False
    position = start.position
    if replay.incomplete or topic in replay.unknown or position is None:
        return True
    if change is None:
        return topic in replay.stale
    again = PERSONAL_AGAIN_MS if spec.personal else 0
    return change > Id(position.fragments.ms - again, position.fragments.n)


def may_hide(start: Start, topic: str, replay: Replay) -> bool:
    """Whether something may have changed inside what a client shows, of which nothing is known.

    That is any fragment of the topic that it is not known to show.

    Args:
        start: Where the client starts, with all that it is known to show.
        topic: The topic.
        replay: What the broker said.
    """
    if start.now:
        return False
    position = start.position
    if replay.incomplete or topic in replay.unknown | replay.stale or position is None:
        return True
    return any(
        change > position.fragments
        for (other, name), change in replay.changes.items()
        if other == topic and name not in start.fragments
    )


def missed(replay: Replay) -> list[Message]:
    """Return what a process has missed, in the order of ids.

    Changes of fragments come back as the messages that announced them, also those that the
    process has seen.
    """
    changes = (
        Message(Kind.REFRESH, change, topic, name)
        for (topic, name), change in replay.changes.items()
    )
    return sorted([*replay.events, *changes], key=lambda message: message.id)


def unrecorded(replay: Replay, starts: Mapping[str, Start]) -> list[Message]:
    """Return the changes that a process may have missed, and that are on record no more.

    They count as changes of the snapshot, whose render is sure to show them.
    """
    return [
        Message(Kind.REFRESH, replay.position.events, topic, name)
        for topic, start in starts.items()
        if topic in replay.stale
        for name in sorted(start.fragments)
        if (topic, name) not in replay.changes
    ]
