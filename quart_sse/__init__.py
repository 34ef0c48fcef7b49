"""Live server-rendered pages for Quart: server-sent events, htmx and Jinja macros."""

from .broker import Broker
from .channels import Channel, Presence, Published, Topic
from .config import Config
from .errors import (
    AnswerError,
    BrokerUnavailable,
    ConfigError,
    DeclarationError,
    EventError,
    FragmentError,
    MissingSecretKeyError,
    ParameterError,
    RenderError,
    SetupError,
    SSEError,
    UnknownChannelError,
    UnknownFragmentError,
)
from .extension import SSE
from .wire import Event

__all__ = [
    "SSE",
    "AnswerError",
    "Broker",
    "BrokerUnavailable",
    "Channel",
    "Config",
    "ConfigError",
    "DeclarationError",
    "Event",
    "EventError",
    "FragmentError",
    "MissingSecretKeyError",
    "ParameterError",
    "Presence",
    "Published",
    "RenderError",
    "SSEError",
    "SetupError",
    "Topic",
    "UnknownChannelError",
    "UnknownFragmentError",
]
