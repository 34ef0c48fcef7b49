"""Live server-rendered pages for Quart: server-sent events, htmx and Jinja macros.

Names are loaded when they are first used, so that a program without Quart can import what needs no
web framework, such as ``quart_sse.publisher``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .broker import Broker, Process
    from .channels import (
        Channel,
        Everyone,
        KeptEvent,
        Presence,
        Published,
        Target,
        Topic,
        User,
        WholeChannel,
    )
    from .config import Config
    from .errors import (
        AnswerError,
        BrokerUnavailable,
        ConfigError,
        ConnectionClosedError,
        DeclarationError,
        EventError,
        FilterError,
        FragmentError,
        LivePageError,
        MacroError,
        MissingSecretKeyError,
        ParameterError,
        RenderError,
        SetupError,
        SSEError,
        UnknownChannelError,
        UnknownFragmentError,
    )
    from .extension import SSE
    from .publisher import (
        AsyncPublisher,
        AsyncPublisherChannel,
        AsyncPublisherTarget,
        AsyncPublisherTopic,
        ChannelRecord,
        Publisher,
        PublisherChannel,
        PublisherTarget,
        PublisherTopic,
    )
    from .registry import (
        ConnectionHandle,
        ConnectionInfo,
        Counted,
        Found,
        ProcessList,
        Registry,
    )
    from .streams import BlockingOwnStream, OwnStream
    from .wire import Ending, Event

__all__ = [
    "SSE",
    "AnswerError",
    "AsyncPublisher",
    "AsyncPublisherChannel",
    "AsyncPublisherTarget",
    "AsyncPublisherTopic",
    "BlockingOwnStream",
    "Broker",
    "BrokerUnavailable",
    "Channel",
    "ChannelRecord",
    "Config",
    "ConfigError",
    "ConnectionClosedError",
    "ConnectionHandle",
    "ConnectionInfo",
    "Counted",
    "DeclarationError",
    "Ending",
    "Event",
    "EventError",
    "Everyone",
    "FilterError",
    "Found",
    "FragmentError",
    "KeptEvent",
    "LivePageError",
    "MacroError",
    "MissingSecretKeyError",
    "OwnStream",
    "ParameterError",
    "Presence",
    "Process",
    "ProcessList",
    "Published",
    "Publisher",
    "PublisherChannel",
    "PublisherTarget",
    "PublisherTopic",
    "Registry",
    "RenderError",
    "SSEError",
    "SetupError",
    "Target",
    "Topic",
    "UnknownChannelError",
    "UnknownFragmentError",
    "User",
    "WholeChannel",
]

#: Module -> what is taken from it; all else is in ``errors``.
_MODULES = {
    "broker": ("Broker", "Process"),
    "channels": (
        "Channel",
        "Everyone",
        "KeptEvent",
        "Presence",
        "Published",
        "Target",
        "Topic",
        "User",
        "WholeChannel",
    ),
    "config": ("Config",),
    "extension": ("SSE",),
    "publisher": (
        "AsyncPublisher",
        "AsyncPublisherChannel",
        "AsyncPublisherTarget",
        "AsyncPublisherTopic",
        "ChannelRecord",
        "Publisher",
        "PublisherChannel",
        "PublisherTarget",
        "PublisherTopic",
    ),
    "registry": (
        "ConnectionHandle",
        "ConnectionInfo",
        "Counted",
        "Found",
        "ProcessList",
        "Registry",
    ),
    "streams": ("BlockingOwnStream", "OwnStream"),
    "wire": ("Ending", "Event"),
}
_MODULE_OF = dict.fromkeys(__all__, "errors") | {
    name: module for module, names in _MODULES.items() for name in names
}


if not TYPE_CHECKING:  # or a checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        """Load a public name when it is first used; see https://peps.python.org/pep-0562/."""
        module = _MODULE_OF.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
        return value


def __dir__() -> list[str]:
    """Return what the package offers, also what is not loaded yet."""
    return sorted({*globals(), *__all__})
