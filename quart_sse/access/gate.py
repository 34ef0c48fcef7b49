"""The gate: judges by tokens, ``authorize`` and nested fragments what a client may listen to."""

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from werkzeug.exceptions import HTTPException

from ..broker import Broker, reference_of
from ..channels import AppChannels, AppFunctions
from ..error_log import ErrorLog
from ..host import Host
from ..hub import Metadata, metadata_of
from ..logs import LogLine
from ..wire import Ending, Refusal
from .answers import is_refusal
from .tokens import Signer, Token, read_topics

IDENTITY_FAILED = LogLine(
    "access",
    "identity-failed",
    logging.ERROR,
    "The function of @sse.identity failed; the request is refused, and a stream's client retries.",
)
METADATA_FAILED = LogLine(
    "access",
    "metadata-failed",
    logging.ERROR,
    "The function of @sse.metadata failed; the stream is refused, and its client retries.",
)
LIST_CHANGED = LogLine(
    "access",
    "list-changed",
    logging.ERROR,
    "The list of topics %(list)r was changed at the broker; its token is refused. Another program "
    "writes to the broker's keys: restrict write access to them.",
    list=str,
)


class Renders(Protocol):
    """Tells which fragments are nested in others; the hub of the process is one."""

    def nested(self, topic: str, fragment: str) -> frozenset[tuple[str, str]]:
        """Return what a shared fragment contains, as far as renders of this process have shown.

        Args:
            topic: Topic of the outer fragment.
            fragment: Name of the outer fragment.

        Returns:
            (topic, fragment) of each nested fragment.
        """


class Gate:
    """Decides for one app which clients may listen to what.

    The gate identifies the client and verifies its tokens; one :class:`Judgement` per request then
    judges each topic.

    Args:
        host: Calls the app's functions.
        channels: The app's channels.
        signer: Verifies tokens.
        broker: Keeps lists of topics that are too long for a token.
        identify: Calls the function of ``@sse.identity`` and returns the identity.
        renders: Tells which fragments are nested in others.
        functions: The app's functions, of which one returns the metadata of clients.
        errors: Logs errors of the app's functions.

    Example:
        ::

            identity = await gate.identify()
            tokens = [await gate.verify(text, identity) for text in request.args.getlist("t")]
            admission = await Judgement(gate, tokens).admit()
    """

    def __init__(
        self,
        host: Host,
        channels: AppChannels,
        signer: Signer,
        broker: Broker,
        identify: Callable[[], Awaitable[str | None]],
        renders: Renders,
        functions: AppFunctions,
        errors: ErrorLog,
    ) -> None:
        self._functions = functions
        self.host = host
        self.channels = channels
        self.renders = renders
        self.errors = errors
        self._signer = signer
        self._broker = broker
        self._identify = identify

    async def identity(self) -> str | None:
        """Return the identity of the current request; the app's function runs once per request.

        Returns:
            The identity; None for a visitor who is not signed in.

        Raises:
            AnswerError: If the function of ``@sse.identity`` returned no identity.
            Exception: Any error that the function raised.
        """
        exchange = self.host.exchange()
        if not exchange.is_identified:
            exchange.identity = await self._identify()
            exchange.is_identified = True
        return exchange.identity

    async def identify(self) -> str | None:
        """Return the identity of a request for a stream or a fragment.

        Raises:
            Refusal: ``REFUSED`` if the function of ``@sse.identity`` refuses, as by ``abort(401)``;
                ``ERROR`` if it failed, which is logged.
        """
        try:
            return await self.identity()
        except Exception as error:
            if isinstance(error, HTTPException) and is_refusal(error):
                raise Refusal(Ending.REFUSED) from error
            self.errors.log("function of @sse.identity", error, IDENTITY_FAILED)
            raise Refusal(Ending.ERROR) from error

    async def metadata(self) -> Metadata | None:
        """Return the metadata of the client that requests a stream; None without any.

        Raises:
            Refusal: ``REFUSED`` if the function of ``@sse.metadata`` refuses, as by ``abort(403)``;
                ``ERROR`` if it failed, which is logged.
        """
        function = self._functions.metadata
        if function is None:
            return None
        try:
            given = await self.host.call(function, {})
            return metadata_of(given, "The function of @sse.metadata returned")
        except Exception as error:
            if isinstance(error, HTTPException) and is_refusal(error):
                raise Refusal(Ending.REFUSED) from error
            self.errors.log("function of @sse.metadata", error, METADATA_FAILED)
            raise Refusal(Ending.ERROR) from error

    @property
    def can_sign(self) -> bool:
        """Whether the app has a secret key, by which it knows the lists of its own pages."""
        return self._signer.has_key

    async def verify(self, text: str, identity: str | None) -> Token | None:
        """Return a verified token; the list of topics replaces a reference to one at the broker.

        Args:
            text: The value of ``t=`` in the URL, from an untrusted client.
            identity: Identity of the client.

        Returns:
            The token; None if its signature is not the app's, or if its list is lost or changed.

        Raises:
            BrokerUnavailable: If the list is kept at the broker, and the broker is away.
        """
        token = self._signer.verify(text, identity)
        if token is None or not token.reference:
            return token
        topics = await self._broker.kept_text(token.reference)
        if topics is None:
            return None
        if reference_of(topics) != token.reference:
            LIST_CHANGED.log(list=token.reference)
            return None
        return token._replace(topics=read_topics(topics))
