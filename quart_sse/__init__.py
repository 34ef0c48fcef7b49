"""Live server-rendered pages for Quart: server-sent events, htmx and Jinja macros.

Names are loaded when they are first used, so that a program without Quart can import what needs no
web framework, such as ``quart_sse.publisher``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .access_log import HideTokens
    from .broker import Broker, Process
    from .channels import (
        Channel,
        Everyone,
        KeptEvent,
        Person,
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
    from .metrics import Metrics
    from .publisher import (
        AsyncPublisher,
        AsyncPublisherChannel,
        AsyncPublisherTarget,
        AsyncPublisherTopic,
        ChannelRecord,
        EventType,
        Publisher,
        PublisherChannel,
        PublisherTarget,
        PublisherTopic,
    )
    from .registry import (
        CollectedStats,
        ConnectionHandle,
        ConnectionInfo,
        Counted,
        Found,
        ProcessList,
        Registry,
        Stats,
        Took,
    )
    from .streams import BlockingOwnStream, OwnStream
    from .wire import Ending, Event, Notification

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
    "CollectedStats",
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
    "EventType",
    "Everyone",
    "FilterError",
    "Found",
    "FragmentError",
    "HideTokens",
    "KeptEvent",
    "LivePageError",
    "MacroError",
    "Metrics",
    "MissingSecretKeyError",
    "Notification",
    "OwnStream",
    "ParameterError",
    "Person",
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
    "Stats",
    "Target",
    "Took",
    "Topic",
    "UnknownChannelError",
    "UnknownFragmentError",
    "User",
    "WholeChannel",
]

#: Module -> what is taken from it; all else is in ``errors``.
_MODULES = {
    "access_log": ("HideTokens",),
    "broker": ("Broker", "Process"),
    "channels": (
        "Channel",
        "Everyone",
        "KeptEvent",
        "Person",
        "Presence",
        "Published",
        "Target",
        "Topic",
        "User",
        "WholeChannel",
    ),
    "config": ("Config",),
    "extension": ("SSE",),
    "metrics": ("Metrics",),
    "publisher": (
        "AsyncPublisher",
        "AsyncPublisherChannel",
        "AsyncPublisherTarget",
        "AsyncPublisherTopic",
        "ChannelRecord",
        "EventType",
        "Publisher",
        "PublisherChannel",
        "PublisherTarget",
        "PublisherTopic",
    ),
    "registry": (
        "CollectedStats",
        "ConnectionHandle",
        "ConnectionInfo",
        "Counted",
        "Found",
        "ProcessList",
        "Registry",
        "Stats",
        "Took",
    ),
    "streams": ("BlockingOwnStream", "OwnStream"),
    "wire": ("Ending", "Event", "Notification"),
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
