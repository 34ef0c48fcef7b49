"""Every error of quart_sse: each names the thing that is wrong, then the remedy."""

import re
from collections.abc import Iterable


def _listed(names: Iterable[str]) -> str:
    """Write names for a message: ``'a', 'b'``, or ``none`` when there are none."""
    return ", ".join(repr(name) for name in sorted(names)) or "none"


class SSEError(Exception):
    """The root of all errors that quart_sse raises."""


class ConfigError(SSEError, ValueError):
    """Raised in ``init_app`` when a ``QUART_SSE_*`` value cannot be used."""

    def __init__(self, key: str, value: object, expected: str) -> None:
        # A URL may hold a password, and errors end in logs.
        shown = re.sub(r"//[^/@]*@", "//...@", repr(value))
        super().__init__(f"{key} is {shown}. It must be {expected}.")


class SetupError(SSEError, RuntimeError):
    """Raised when the extension is used before, or initialised more often than, it can be."""


class DeclarationError(SSEError, ValueError):
    """Raised where a channel or fragment is declared with a name or rule that cannot work."""


class UnknownChannelError(SSEError, LookupError):
    """Raised when a channel is named that was never declared."""

    def __init__(self, name: str, declared: Iterable[str]) -> None:
        super().__init__(
            f"Unknown channel {name!r}. Declared: {_listed(declared)}. "
            f"Declare it with sse.channel({name!r}, rule)."
        )


class UnknownFragmentError(SSEError, LookupError):
    """Raised when a fragment is named that its channel never declared."""

    def __init__(self, channel: str, name: str, declared: Iterable[str]) -> None:
        super().__init__(
            f"Channel {channel!r} has no fragment {name!r}. Declared: {_listed(declared)}. "
            f"Declare it with @{channel}.fragment({name!r})."
        )


class AnswerError(SSEError, TypeError):
    """Raised when a function of the app, or a caller, gives a value of a type that decides nothing.

    Such as an ``authorize`` that returns a response, or an identity that is a number.
    """


class ParameterError(SSEError, ValueError):
    """Raised when the parameters of a topic are not those of its channel's rule."""


class EventError(SSEError, ValueError):
    """Raised when an event has a name, id or data that an event stream cannot carry."""


class FragmentError(SSEError, ValueError):
    """Raised when a fragment's HTML cannot be sent, or a fragment is used as it cannot be."""


class RenderError(SSEError, RuntimeError):
    """Raised when a fragment could not be rendered outside a viewer's request."""


class MissingSecretKeyError(SSEError, RuntimeError):
    """Raised at the first signing when the app has no secret key."""

    def __init__(self) -> None:
        super().__init__(
            "app.secret_key is not set, so the topics of a page cannot be signed. Set "
            "app.secret_key (the same in every process), or declare channels that anybody "
            "may read with sse.channel(..., public=True)."
        )


class BrokerUnavailable(SSEError, RuntimeError):  # noqa: N818 - a state, named as users meet it
    """Raised when the broker cannot be reached.

    Attributes:
        maybe_published: Whether the event may have been published all the same: the request
            was sent and its answer never came. False when it was certainly not published.
    """

    def __init__(self, message: str, *, maybe_published: bool = False) -> None:
        super().__init__(message)
        self.maybe_published = maybe_published
