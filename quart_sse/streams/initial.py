"""Initial events: what a client that begins is sent before all else."""

import logging
from collections.abc import Iterable
from typing import Any

from werkzeug.sansio.request import Request

from ..access import Admission
from ..channels import AppChannels, Declaration
from ..error_log import ErrorLog
from ..errors import AnswerError
from ..host import Host
from ..logs import LogLine
from ..publisher import MessagePublisher, check_text, event_name
from ..wire import Event, check_event_name, encode_body, member_key
from .request import last_event_id

#: Most marks of one request that are answered.
MAX_MARKS = 64
#: Longest mark, in characters.
MAX_MARK = 32


def begun(request: Request) -> dict[int, list[str]]:
    """Return number of a token -> the marks of its pages that ask for a stream the first time.

    Args:
        request: The request for a stream, by our script.
    """
    marks, left = {}, MAX_MARKS
    for number, text in enumerate(request.args.getlist("first")):
        given = [mark for mark in text.split(",") if len(mark) <= MAX_MARK and mark.isalnum()]
        marks[number] = given[:left]
        left -= len(marks[number])
    return {number: each for number, each in marks.items() if each}


#: An event, and ``"text"`` if its data are a text that reads like JSON.
_Made = tuple[Event, str]


INITIAL_FAILED = LogLine(
    "streams",
    "initial-failed",
    logging.ERROR,
    "The initial function of channel %(channel)r failed; the client begins without its events.",
    channel=str,
)


class Initials:
    """Calls the functions of ``channel.initial``, and encodes their events.

    A client begins if it says no last event. Our script says in the query, instead, which of its
    pages it asks for the first time, by a ``first=`` for each token: the marks of such pages, with
    commas. Only a page whose mark is in an event's ``for:`` takes that event.

    Args:
        host: Calls the functions.
        channels: The app's channels.
        publisher: Encodes data.
        errors: Logs errors of the functions; the client is then sent nothing of theirs.
    """

    def __init__(
        self, host: Host, channels: AppChannels, publisher: MessagePublisher, errors: ErrorLog
    ) -> None:
        self._host = host
        self._channels = channels
        self._publisher = publisher
        self._errors = errors

    async def of_stream(self, request: Request, topics: Iterable[str], bare: bool) -> list[bytes]:
        """Return the encoded events for the stream of a view, or at a channel's own URL.

        Args:
            request: The request for the stream.
            topics: Names of its topics.
            bare: Whether event names go out without their topic.
        """
        if last_event_id(request):
            return []
        made = [(topic, await self._events(topic)) for topic in topics]
        return [self._encode(topic, each, bare, "") for topic, events in made for each in events]

    async def of_pages(self, request: Request, admission: Admission, bare: bool) -> list[bytes]:
        """Return the encoded events for the pages of a shared stream, or at a channel's own URL.

        Args:
            request: The request for the stream.
            admission: The granted topics, with the tokens that granted them.
            bare: Whether event names go out without their topic.
        """
        if "replaces" not in request.args:  # which our script always says
            return await self.of_stream(request, admission.subscription, bare)
        marks = begun(request)
        chunks: list[bytes] = []
        for topic, numbers in admission.tokens_of.items():
            new = [mark for number in numbers for mark in marks.get(number, ())]
            events = await self._events(topic) if new else []
            chunks += [self._encode(topic, event, bare, " ".join(new)) for event in events]
        return chunks

    async def _events(self, topic: str) -> list[_Made]:
        declared = self._channels.known(topic)
        made: list[_Made] = []
        for function in declared.initials:
            try:
                values = self._channels.known_values(topic)
                given = await self._host.call(function, values)
                if hasattr(given, "__aiter__"):  # Quart makes one of a sync generator
                    given = [each async for each in given]
                made += [self._event(declared, each) for each in given or ()]
            except Exception as error:
                self._errors.log(
                    f"initial of channel {declared.name!r}",
                    error,
                    INITIAL_FAILED,
                    channel=declared.name,
                )
        return made

    def _event(self, declared: Declaration, given: Any) -> _Made:
        """Return an event that an app's function gave, and the type of its data.

        Raises:
            AnswerError: If it is neither an event with a name nor a pair.
            EventError: If it cannot be sent.
        """
        if isinstance(given, tuple) and len(given) == 2:
            text, is_text = self._publisher.encode(*given, declares=declared.declares)
            return Event(text, name=event_name(given[0])), "text" if is_text else ""
        if isinstance(given, Event) and given.name is not None:
            check_event_name(given.name)
            check_text(declared.declares, given.name, given.data or "")
            return given, ""
        raise AnswerError(
            f"An initial function gave {given!r}. Give events with a name, Event(data, name=...), "
            "or pairs of a name and data."
        )

    @staticmethod
    def _encode(topic: str, made: _Made, bare: bool, mark: str) -> bytes:
        event, kind = made
        name = event.name or ""
        wire_name = name if bare else member_key(topic, name)
        return encode_body(event.data, wire_name, event.retry_ms, type=kind, **{"for": mark})
