"""Where a command's publisher comes from: the app at hand, or a URL."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import click

from ..errors import SetupError, without_password
from ..publisher import Declared, ShellPublisher

if TYPE_CHECKING:
    from collections.abc import Callable

    from quart import Quart

    from ..wiring import Services


class Door(ABC):
    """What commands stand on."""

    @abstractmethod
    def declared(self) -> Declared | None:
        """Return what the app at hand declares; None if there is no app.

        Raises:
            SetupError: If the app is not initialised for quart_sse.
        """

    @abstractmethod
    def open(self) -> ShellPublisher:
        """Return a publisher, for use as an asynchronous context manager.

        Raises:
            SetupError: If the app's broker reaches no other process.
            ConfigError: If the URL, the prefix or the timeout is invalid.
        """


class UrlDoor(Door):
    """The door of ``python -m quart_sse``.

    Args:
        url: The app's ``QUART_SSE_BROKER_URL``; None if there is none.
        prefix: The app's ``QUART_SSE_REDIS_PREFIX``.
        timeout: Longest duration of a call, in seconds.
    """

    def __init__(self, url: str | None, prefix: str, timeout: float) -> None:
        self._url, self._prefix, self._timeout = url, prefix, timeout

    def declared(self) -> Declared | None:
        """Return None: what the app declares is read from Redis."""
        return None

    def open(self) -> ShellPublisher:
        """Return a publisher for the URL."""
        if self._url is None:
            raise click.UsageError(
                "No broker is named. Pass --url redis://..., or set QUART_SSE_BROKER_URL; where "
                "the app is at hand, use `quart sse`.",
                click.get_current_context(silent=True),
            )
        return ShellPublisher(self._url, prefix=self._prefix, timeout=self._timeout)


class AppDoor(Door):
    """The door of ``quart sse``. The app is loaded, and does not begin to serve.

    Args:
        load: Returns the app.
    """

    def __init__(self, load: "Callable[[], Quart]") -> None:
        self._load = load

    @property
    def _services(self) -> "Services":
        from ..host import KEY  # it takes a while to load, and only this door needs it

        app = self._load()
        services: Services | None = app.extensions.get(KEY)
        if services is None:
            raise SetupError(
                f"The app {app.name!r} is not initialised for quart_sse. Call SSE(app), or "
                "sse.init_app(app) in its factory."
            )
        return services

    def declared(self) -> Declared | None:
        """Return what the app declares."""
        return self._services.channels.record()

    def open(self) -> ShellPublisher:
        """Return a publisher over the app's own broker."""
        services = self._services
        broker = services.broker.inner
        if not broker.is_shared:
            url = without_password(services.config.broker_url)
            raise SetupError(
                f"This needs Redis: the app's broker is {url}, which leads "
                "to no other process. Set QUART_SSE_BROKER_URL=redis://... for the app and for "
                "this shell."
            )
        return ShellPublisher(
            broker,
            declared=self.declared(),
            timeout=services.config.broker_timeout,
            dumps=services.host.dumps,
        )
