"""The functions that an app registers at its ``SSE`` object, for all its channels."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .refreshing import Refreshers


@dataclass(slots=True)
class AppFunctions:
    """Functions of an app, sync or async."""

    metadata: Callable[..., Any] | None = None  #: returns the metadata of the current client
    publishing: Callable[..., Any] | None = None  #: whether a request may publish by HTTP
    #: (whether a request may read the stats by HTTP,); (None,) allows none; None for no such URL
    stats: tuple[Callable[..., Any] | None] | None = None
    on_connect: list[Callable[..., Any]] = field(default_factory=list)
    on_disconnect: list[Callable[..., Any]] = field(default_factory=list)
    refreshers: Refreshers = field(default_factory=dict)  #: say what events refresh
