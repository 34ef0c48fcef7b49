"""Every error of quart_sse: each message names the faulty thing, then the remedy."""

import re
from collections.abc import Iterable


def _listed(names: Iterable[str]) -> str:
    """Return sorted names for a message: ``'a', 'b'``; ``none`` without names."""
    return ", ".join(repr(name) for name in sorted(names)) or "none"


def near(name: str, names: Iterable[str]) -> str:
    """Return a question that names what was likely meant, with a space at its end, or ``""``."""
    from difflib import get_close_matches  # loaded with the first mistake

    found = get_close_matches(name, list(names), 1)
    return f"Did you mean {found[0]!r}? " if found else ""


def without_password(url: str) -> str:
    """Return a URL without what may be a password, for errors and logs.

    A password may have characters that end the host of a URL, such as ``/``, where they should be
    encoded. So all up to the last ``@`` is hidden.

    Args:
        url: The URL, or a text that begins with one.
    """
    hidden = re.sub(r"(?s)^([^/]*//)?.*@", r"\1...@", url)
    return re.sub(r"((?:username|password)=)[^&'\"]*", r"\1...", hidden)


class SSEError(Exception):
    """Base class of all errors that quart_sse raises.

    Example:
        ``except SSEError:`` around ``await topic.refresh()``
    """


class ConfigError(SSEError, ValueError):
    """A ``QUART_SSE_*`` key is unknown, or its value is invalid; raised by ``init_app``.

    Example:
        ``app.config["QUART_SSE_HTMX"] = 3``, then ``SSE(app)``
    """

    def __init__(self, key: str, value: object, expected: str) -> None:
        if isinstance(value, str):
            shown = repr(without_password(value))
        else:
            shown = without_password(repr(value))
        end = "" if expected.endswith("?") else "."
        super().__init__(f"{key} is {shown}. It must be {expected}{end}")


class SetupError(SSEError, RuntimeError):
    """The extension is not initialised for the app, or is initialised twice.

    Raised by ``init_app``, and by the use of a topic or of the ``SSE`` object without an app.

    Example:
        ``SSE().broker``, before any ``init_app``
    """


class DeclarationError(SSEError, ValueError):
    """A channel, fragment or function is declared with an invalid or taken name, rule or option.

    Example:
        ``sse.channel("wall", "wall")``, whose rule lacks its ``/``
    """


class UnknownChannelError(SSEError, LookupError):
    """A macro, ``sse.topic()`` or a :class:`Publisher` names a channel that is not declared.

    Example:
        ``sse.topic("coments")``
    """

    def __init__(self, name: str, declared: Iterable[str]) -> None:
        names = list(declared)
        super().__init__(
            f"Unknown channel {name!r}. {near(name, names)}Declared: {_listed(names)}. "
            f"Declare it with sse.channel({name!r}, rule)."
        )


class UnknownFragmentError(SSEError, LookupError):
    """A macro, ``refresh()`` or ``push()`` names a fragment that its channel does not declare.

    Example:
        ``await comments.topic(discussion_id=7).refresh("lists")``
    """

    def __init__(self, channel: str, name: str, declared: Iterable[str]) -> None:
        super().__init__(
            f"Channel {channel!r} has no fragment {name!r}. Declared: {_listed(declared)}. "
            f"Declare it with @{channel}.fragment({name!r})."
        )


class AnswerError(SSEError, TypeError):
    """A function of the app returned, or a caller passed, a value that is no answer.

    For example, an ``authorize`` function returned a response, or an identity is a number. Such
    errors of ``authorize`` and ``@sse.identity`` are logged, and the client is refused.

    Example:
        ``await sse.disconnect(identity=7)``, where a ``str`` is expected
    """


class ParameterError(SSEError, ValueError):
    """The parameters of a topic are not those of its channel's rule, or a topic is expected.

    Example:
        ``comments.topic(id=7)``, where the rule has ``discussion_id``
    """


class EventError(SSEError, ValueError):
    """An event has a name, id, data or ``retry_ms`` that an event stream cannot carry.

    The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.

    Example:
        ``await topic.publish("message", "hello")``, a reserved name
    """


class FilterError(SSEError, ValueError):
    """A ``where=`` is no condition on metadata, or no condition that this broker can carry.

    Example:
        ``await topic.publish("paid", where={})``, which would mean every connection
    """


class ConnectionClosedError(SSEError, RuntimeError):
    """A connection was used after it had closed.

    Example:
        ``await connection.send("hello")``, after its browser has gone
    """

    def __init__(self, id: str) -> None:
        super().__init__(
            f"The connection {id!r} is closed. Ask `connection in sse.connections` first, or use "
            "sse.send(id, ...), which returns False."
        )


class FragmentError(SSEError, ValueError):
    """A fragment's HTML cannot be sent, or the fragment may not stand or be pushed here.

    Example:
        ``await topic.push("greeting", html="Hello")``, a personal fragment
    """


class MacroError(SSEError, ValueError):
    """Raised when a macro is called with an argument that it cannot use.

    Example:
        ``{{ sse_fragment("comments.list", tag="script") }}`` raises it.
    """


class RenderError(SSEError, RuntimeError):
    """A shared fragment cannot be rendered: a hook answered, its host is unknown, or time is up.

    Example:
        ``url_for("page", _external=True)`` in a renderer, without ``QUART_SSE_BASE_URL``
    """


class MissingSecretKeyError(SSEError, RuntimeError):
    """The app has no secret key; raised when a page's topics are signed for the first time.

    Example:
        ``{{ sse_connect() }}`` in a page, without ``app.secret_key``
    """

    def __init__(self) -> None:
        super().__init__(
            "app.secret_key is not set, so the topics of a page cannot be signed. Set "
            "app.secret_key (the same in every process), or declare channels that every client "
            "may read with sse.channel(..., public=True); sse_connect(user=true) needs the key."
        )


class BrokerUnavailable(SSEError, RuntimeError):  # noqa: N818 - a state, named as users meet it
    """The broker cannot be reached, or did not answer within ``QUART_SSE_BROKER_TIMEOUT``.

    Attributes:
        maybe_published: True if the broker may have published the event: it was sent, and no
            answer came. False if the event was certainly not published.

    Example:
        .. code-block:: python

            try:
                await topic.publish("paid", {"order": 12})
            except BrokerUnavailable as error:
                if not error.maybe_published:
                    queue_again("paid", 12)
    """

    def __init__(self, message: str, *, maybe_published: bool = False) -> None:
        super().__init__(message)
        self.maybe_published = maybe_published


class LivePageError(SSEError, AssertionError):
    """A page of a test is not live, or what the test waits for has not come.

    Raised by :mod:`quart_sse.testing`. The message names what came instead.

    Example:
        ``await page.fragment("comments.list")``, although nothing was refreshed
    """
