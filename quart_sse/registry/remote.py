"""Remote: publish what a program in any language asks for, by names and JSON."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from ..channels import AppChannels, Binding, Channel, Everyone, Target, Topic, User
from ..errors import ParameterError, UnknownChannelError, near
from .sending import Sending

#: What a request may say: whom it is for, and what to do.
_WHOM = ("channel", "user", "everyone", "connection")
_WHAT = ("event", "notify", "refresh", "push", "close")
#: Key that says what to do -> further keys that belong to it.
_WITH = {
    "event": {"data", "retry_ms", "where", "exclude"},
    "notify": {"level", "title", "data", "id", "where", "exclude"},
    "refresh": {"item"},
    "push": {"html", "item"},
    "close": set[str](),
}


class Remote:
    """Does what requests of other programs ask for, with the checks of the app's own calls.

    Args:
        channels: The app's channels.
        binding: The services that targets use.
        sending: Reaches single connections.
    """

    def __init__(self, channels: AppChannels, binding: Binding, sending: Sending) -> None:
        self._channels = channels
        self._binding = binding
        self._sending = sending

    async def publish(self, told: object) -> dict[str, object]:
        """Publish what is asked for.

        Args:
            told: What the request's JSON holds; docs/publishing.md has its form.

        Returns:
            ``{"id": ...}`` of an event or a notification, ``{"is_open": ...}`` of an event for a
            connection, else ``{}``.

        Raises:
            ParameterError: If the request has another form, or a parameter is invalid.
            UnknownChannelError: If the channel is not declared.
            SSEError: Any other error of :meth:`Target.publish`, :meth:`Target.notify`,
                :meth:`Topic.refresh`, :meth:`Topic.push` and :meth:`SSE.send`.
        """
        request = _checked(told)
        if "connection" in request:
            name, data = _text(request, "event"), request.get("data")
            is_open = await self._sending.send(_text(request, "connection"), name, data)
            return {"is_open": is_open}
        target = self._target(request)
        if "event" in request:
            published = await target.publish(
                _text(request, "event"),
                request.get("data"),
                retry_ms=request.get("retry_ms"),
                where=_object(request, "where"),
                exclude=request.get("exclude"),
            )
            return {"id": published.id}
        if "notify" in request:
            options = {key: request[key] for key in _WITH["notify"] & request.keys()}
            if "where" in options:
                options["where"] = _object(request, "where")
            return {"id": (await target.notify(request["notify"], **options)).id}
        if not isinstance(target, Topic):
            raise ParameterError(
                "Only a topic can be refreshed, pushed to or closed. Name its channel, and its "
                "parameters in params, or publish an event."
            )
        await self._change(target, request)
        return {}

    async def _change(self, topic: Topic, request: Mapping[str, Any]) -> None:
        if "close" in request:
            await topic.close()
        elif "push" in request:
            html = Markup(_text(request, "html"))
            await topic.push(_text(request, "push"), html=html, item=request.get("item"))
        else:
            names = request["refresh"]
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ParameterError("refresh must be a list of fragments; [] means all of them.")
            await topic.refresh(*names, item=request.get("item"))

    def _target(self, request: Mapping[str, Any]) -> Target:
        if "user" in request:
            return User(self._binding, _text(request, "user"))
        if "channel" not in request:
            return Everyone(self._binding)
        name = _text(request, "channel")
        channel = self._channels.declared.get(name)
        if channel is None:
            raise UnknownChannelError(name, self._channels.declared)
        return channel.everyone if "everyone" in request else self._topic(channel, request)

    def _topic(self, channel: Channel, request: Mapping[str, Any]) -> Topic:
        params = _object(request, "params") or {}
        texts = {name: _parameter(name, value) for name, value in params.items()}
        rule = self._channels.known(channel.name).url_rule
        name, _ = rule.select_texts(self._binding.host.url_map, texts)
        return channel._of_name(self._binding, name)


def _checked(told: object) -> Mapping[str, Any]:
    """Return a request whose keys go together.

    Raises:
        ParameterError: If they do not; the message names the key.
    """
    if not isinstance(told, dict):
        raise ParameterError(
            'The request must be an object, such as {"channel": ..., "event": ...}.'
        )
    what = [key for key in _WHAT if key in told]
    if len(what) != 1:
        raise ParameterError(f"The request must have one of {', '.join(_WHAT)}.")
    whom = [key for key in _WHOM if key in told]
    if len(whom) != 1 and whom != ["channel", "everyone"]:
        raise ParameterError(
            f"The request must have one of {', '.join(_WHOM)}, or channel and everyone."
        )
    allowed = {*what, *whom, *_WITH[what[0]]} | ({"params"} if whom == ["channel"] else set())
    for key in told:
        if key not in allowed:
            raise ParameterError(
                f"The request has the key {key!r}. {near(key, allowed)}With {whom[0]} and "
                f"{what[0]} it may have {', '.join(sorted(allowed))}."
            )
    for key in ("everyone", "close"):
        if told.get(key, True) is not True:
            raise ParameterError(f"{key} is {told[key]!r}. It must be true, or be left out.")
    if whom == ["connection"] and (
        what != ["event"] or told.keys() - {"connection", "event", "data"}
    ):
        raise ParameterError("A connection takes an event with data, and nothing else.")
    return told


def _text(request: Mapping[str, Any], key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not value:
        raise ParameterError(f"{key} is {value!r}. It must be a text that is not empty.")
    return value


def _object(request: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    value = request.get(key)
    if value is not None and not isinstance(value, dict):
        raise ParameterError(f"{key} is {value!r}. It must be an object.")
    return value


def _parameter(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ParameterError(
            f"The parameter {name} is {value!r}. It must be a text or a number, as in the URL."
        )
    return str(value)
