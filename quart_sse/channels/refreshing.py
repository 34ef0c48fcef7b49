"""Refreshing: what events refresh, as channels declare it."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from werkzeug.routing import Map

from ..broker import Keep
from ..errors import AnswerError, SSEError
from ..publisher import EventType, Refresh, event_name, own_refreshes
from ..wire import public_name
from .declaration import Declaration

#: What a function of ``refresh_on`` returns: the parameters of the topic, of several, or of none.
Selected: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True, slots=True)
class Refresher:
    """A function that says which topics of a channel an event refreshes.

    Attributes:
        source: The event's channel, ``"user"`` or ``"everyone"``.
        event: The event's name.
        function: Takes the event's data, and returns what it selects; sync or async.
        declaration: The channel of the refreshed topics.
        fragments: Names of the refreshed fragments; none means all.
    """

    source: str
    event: str
    function: Callable[[Any], Any]
    declaration: Declaration
    fragments: tuple[str, ...]

    def __str__(self) -> str:
        """Name the function, for errors."""
        name = getattr(self.function, "__qualname__", repr(self.function))
        return f"the function {name} (@{self.declaration.name}.refresh_on) of {self.key!r}"

    @property
    def key(self) -> str:
        """The event as it is declared, such as ``"orders.created"``."""
        return f"{self.source}.{self.event}"


#: Name of an event -> the functions that are asked when it is published.
Refreshers: TypeAlias = dict[str, list[Refresher]]


class Channels(Protocol):
    """The declared channels; :class:`~quart_sse.channels.AppChannels` implements it."""

    def keep(self, topic: str) -> Keep:
        """Return how much history a topic keeps."""

    @property
    def url_map(self) -> Map:
        """The app's URL map."""


class Refreshing:
    """Finds what an event refreshes, before it is published.

    Args:
        channels: The app's channels.
        refreshers: The functions of ``refresh_on``; some may be registered later.
    """

    def __init__(self, channels: Channels, refreshers: Refreshers) -> None:
        self._channels = channels
        self._refreshers = refreshers

    def begin(
        self,
        target: str,
        declaration: Declaration | None,
        event: EventType[Any] | str,
        data: Any,
    ) -> "Pending | None":
        """Call the functions that an event has; None if it refreshes nothing.

        They are called in the thread of the caller, so that data which change later do not count.

        Args:
            target: Name of the topic or the audience to which the event is published.
            declaration: The channel of it; None for a user or everyone.
            event: The event's type or name.
            data: Its data, as they were given.

        Raises:
            EventError: If an event for a whole channel refreshes fragments of its topic.
            Exception: Any exception of a function; a note names it.
        """
        name = event_name(event)
        own = () if declaration is None else declaration.on.get(name, ())
        asked = self._refreshers.get(name, ())
        if not own and not asked:
            return None
        found: list[Refresh] = []
        if declaration is not None and own:
            keep = self._channels.keep(target)
            single = declaration.is_single
            found = own_refreshes(target, name, own, keep, is_single=single)
        source = public_name(target).partition("?")[0]
        asked = [each for each in asked if each.source == source]
        if asked:
            known = event if isinstance(event, EventType) else None
            if declaration is not None:
                known = declaration.events.get(name, known)
            data = data if known is None else known._of(data)
        answers = [(each, _called(each, data)) for each in asked]
        return Pending(self, found, answers)

    def _selected(self, refresher: Refresher, answer: Selected) -> list[Refresh]:
        """Return what the answer of a function means."""
        declaration = refresher.declaration
        given: Sequence[Any] = (
            answer if isinstance(answer, list | tuple) else [] if answer is None else [answer]
        )
        if not all(isinstance(each, Mapping) for each in given):
            raise AnswerError(
                f"{str(refresher).capitalize()} returned {answer!r}. Return the parameters of a "
                "topic as a dict, a list of such dicts, or None. Nothing was published."
            )
        names = [declaration.find(name).spec.name for name in refresher.fragments]
        found = []
        for params in given:
            try:
                topic, _ = declaration.select(self._channels.url_map, params)
            except SSEError as error:
                _note(error, refresher)
                raise
            keep = self._channels.keep(topic)
            found += [Refresh(topic, name, keep) for name in names or declaration.fragments]
        return found


class Pending:
    """What an event refreshes, while functions may not have answered yet.

    Args:
        refreshing: Reads the answers.
        own: What it refreshes of its own channel.
        answers: Functions with their answers, some of which have to be awaited.
    """

    def __init__(
        self,
        refreshing: Refreshing,
        own: list[Refresh],
        answers: list[tuple[Refresher, Selected | Awaitable[Selected]]],
    ) -> None:
        self._refreshing = refreshing
        self._own = own
        self._answers = answers

    async def done(self) -> list[Refresh]:
        """Return what the event refreshes, each fragment once.

        Raises:
            AnswerError: If a function returned something else than parameters.
            ParameterError: If it returned parameters that the channel's rule does not have.
            UnknownFragmentError: If it is to refresh a fragment that the channel does not declare.
            Exception: Any exception of a function; a note names it.
        """
        found = list(self._own)
        for refresher, answer in self._answers:
            if inspect.isawaitable(answer):
                try:
                    answer = await answer
                except Exception as error:
                    _note(error, refresher)
                    raise
            found += self._refreshing._selected(refresher, answer)
        return list(dict.fromkeys(found))


def _called(refresher: Refresher, data: Any) -> Selected | Awaitable[Selected]:
    try:
        answer: Selected | Awaitable[Selected] = refresher.function(data)
    except Exception as error:
        _note(error, refresher)
        raise
    return answer


def _note(error: Exception, refresher: Refresher) -> None:
    error.add_note(f"In {refresher}; nothing was published.")
