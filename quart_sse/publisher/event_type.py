"""Event types: names of events together with the types of their data."""

import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Generic, TypeVar

from ..errors import EventError, near
from ..wire import check_event_name, decode_data, plain
from .conforming import fault_of
from .schema import Schema, built, is_model, schema_of

Data = TypeVar("Data")


class EventType(Generic[Data]):
    """The name of an event, and the type of its data.

    :meth:`Channel.event` declares and returns one. One that is made here, without a channel, is for
    a user, for everyone, for a single connection, and for a worker without the app.

    Args:
        name: The event's name, as for :meth:`Topic.publish`.
        type: Type of the data: a dataclass, a TypedDict, a pydantic model, or a type that JSON has,
            such as ``str`` and ``list[int]``.
        channel: Name of the channel that declares it, which :meth:`Channel.event` gives.

    Attributes:
        name: The event's name.
        data_type: Type of the data.
        channel: Name of the channel that declares it; "" if none does.
        schema: JSON Schema of the data.

    Raises:
        EventError: If the name is reserved or invalid.
        DeclarationError: If JSON has no values of such a type.

    Example:
        .. code-block:: python

            saved = EventType("saved", dict[str, int])
            await sse.user("7").publish(saved, {"id": 12})
    """

    __slots__ = ("channel", "data_type", "name", "schema")

    def __init__(self, name: str, type: type[Data], *, channel: str = "") -> None:
        self.name: str = check_event_name(name)
        self.data_type: Any = type
        self.channel: str = channel
        self.schema: Schema = schema_of(type)

    @classmethod
    def _of_schema(cls, name: str, schema: Schema, channel: str) -> "EventType[Any]":
        """Return what a publisher without the app knows of an event."""
        anything: Any = Any
        found = cls(name, anything, channel=channel)
        found.schema = schema
        return found

    def __repr__(self) -> str:
        """Show the name and the type."""
        return f"<EventType {self.name!r} of {self._shown}>"

    @property
    def _shown(self) -> str:
        if self.data_type is Any and "$ref" in self.schema:
            return str(self.schema["$ref"]).rpartition("/")[2]
        return str(getattr(self.data_type, "__name__", self.data_type))

    def _accept(self, data: Any) -> Any:
        """Return data as they are dumped.

        Raises:
            EventError: If they are of another class than the type says.
        """
        is_class = is_dataclass(self.data_type) or is_model(self.data_type)
        if is_class and not isinstance(data, self.data_type):
            raise EventError(
                f"The data of event {self.name!r} are of type {type(data).__name__}, and must be a "
                f"{self.data_type.__name__}. Publish {self.data_type.__name__}(...)."
            )
        return self._dumped(data)

    def _dumped(self, data: Any) -> Any:
        is_own = is_model(self.data_type) and isinstance(data, self.data_type)
        return data.model_dump(mode="json", by_alias=True) if is_own else data

    def _check(self, value: Any) -> None:
        """Refuse what JSON holds if it is no data of this event.

        Raises:
            EventError: If it is none; the message names the field.
        """
        if fault := fault_of(self.schema, value):
            raise EventError(
                f"The data of event {self.name!r} are not of their type {self._shown}: {fault}. "
                "Change the data, or the type that the channel declares."
            )

    def _of(self, data: Any) -> Data:
        """Return data as the type that they were published as, also if they came as JSON."""
        made: Data = built(self.data_type, data)
        return made


class Declares:
    """The events that a channel declares.

    Args:
        channel: The channel's name.
        types: Name of an event -> its type.
        is_closed: Whether the channel may have no other events.
    """

    def __init__(self, channel: str, types: Mapping[str, EventType[Any]], is_closed: bool) -> None:
        self.channel: str = channel
        self.types: Mapping[str, EventType[Any]] = types
        self.is_closed: bool = is_closed

    def find(self, name: str) -> EventType[Any]:
        """Return a declared event.

        Raises:
            EventError: If the channel does not declare it.
        """
        found = self.types.get(name)
        if found is None:
            raise EventError(
                f"Channel {self.channel!r} has no event {name!r}. {near(name, self.types)}"
                f"Declared: {', '.join(sorted(self.types)) or 'none'}. Declare it with "
                f"{self.channel}.event({name!r}, ...), or use one of these."
            )
        return found


def event_name(event: EventType[Any] | str) -> str:
    """Return the name of an event that is given by its type or by its name."""
    return plain(event.name if isinstance(event, EventType) else event)


class Typed:
    """An event that is about to be published: what its data must be.

    Args:
        event: The event's type, or its name.
        declares: What the channel declares; None for any event, as of users and single
            connections.

    Raises:
        EventError: If the channel does not declare the event, or the type is another channel's.
    """

    __slots__ = ("_given", "_types")

    def __init__(self, event: EventType[Any] | str, declares: Declares | None) -> None:
        self._given = event if isinstance(event, EventType) else None
        types = [] if self._given is None else [self._given]
        if declares is not None:
            given = self._given
            if given is not None and given.channel and given.channel != declares.channel:
                raise EventError(
                    f"The event {given.name!r} is declared by channel {given.channel!r}, and the "
                    f"topic is one of {declares.channel!r}. Declare it there, too."
                )
            if declares.is_closed:
                declared = declares.find(event_name(event))
                types += [] if declared is self._given else [declared]
        self._types = types

    def accept(self, data: Any) -> Any:
        """Return data as they are dumped.

        Raises:
            EventError: If they are of another class than the given type says.
        """
        if self._given is not None:
            return self._given._accept(data)
        return self._types[0]._dumped(data) if self._types else data

    def check(self, text: str, is_text: bool) -> None:
        """Refuse what is not of the event's type.

        Args:
            text: The dumped data.
            is_text: Whether it is a text that is sent as it is.

        Raises:
            EventError: If the data are of another type.
        """
        checked = [each for each in self._types if each.schema]
        if checked:
            value = text if is_text else json.loads(text)
            for each in checked:
                each._check(value)


def check_text(declares: Declares, name: str, text: str) -> None:
    """Refuse a message that a channel would not publish, by its text as clients receive it.

    Args:
        declares: The events that the channel declares.
        name: The event's name.
        text: The text of its data.

    Raises:
        EventError: If the channel declares other events, or the data are of another type.
    """
    if declares.is_closed:
        declares.find(name)._check(decode_data(text, False))
