"""Who may listen: tokens, ``authorize``, and fragments that contain others."""

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from werkzeug.exceptions import HTTPException

from .app_channels import AppChannels
from .broker import Broker, reference_of
from .callbacks import decide, is_refusal
from .channel import Channel
from .ending import Ending, Refusal
from .error_log import ErrorLog
from .fragment import FragmentSpec
from .host import Host
from .naming import declared_name, member_key
from .signer import Signer, Token, read_topics

logger = logging.getLogger("quart_sse")


class Grant(Enum):
    """What of a topic a client may have."""

    NO = "no"
    SIGNED = "signed"  #: its events, and the fragments that the token names
    WHOLE = "whole"  #: its events and all its fragments


@dataclass(slots=True)
class Admission:
    """What a connection may listen to."""

    subscription: dict[str, frozenset[str]] = field(default_factory=dict)
    #: topic -> which tokens of the URL granted it
    tokens_of: dict[str, list[int]] = field(default_factory=dict)
    #: topic -> how much of it
    grants: dict[str, Grant] = field(default_factory=dict)
    #: which tokens were refused wholly, and which topics and fragments of others
    refused_tokens: list[int] = field(default_factory=list)
    refused_topics: list[str] = field(default_factory=list)
    refused_fragments: list[str] = field(default_factory=list)
    #: which tokens lost a topic because nothing but a signature spoke for it, which has expired
    expired_tokens: list[int] = field(default_factory=list)
    #: whether the client may see a fragment that contains fragments of other topics
    may_see: "Sight | None" = None
    #: (token, topic) -> its bit: bit i stands for topic i of the token, granted or not
    bits: dict[tuple[int, str], int] = field(default_factory=dict)

    def granted_to(self, number: int) -> list[str]:
        """Return the topics that a token of the URL granted."""
        return [topic for topic, numbers in self.tokens_of.items() if number in numbers]

    def narrow(self, topic: str, fragments: frozenset[str]) -> None:
        """Grant of a topic just these fragments, of those that may be had."""
        if topic in self.subscription:
            signed = self.subscription[topic]
            is_whole = self.grants[topic] is Grant.WHOLE
            self.subscription[topic] = frozenset(fragments if is_whole else fragments & signed)

    def refuse(self, topic: str, fragments: Iterable[str]) -> None:
        """Take fragments away, and the topic if it was to show nothing else."""
        for name in fragments:
            self.subscription[topic] -= {name}
            self.refused_fragments.append(member_key(topic, name))


@dataclass(frozen=True, slots=True)
class Sight:
    """What one client may see inside fragments.

    A fragment that contains one of a channel with a rule is for those whom the rule lets in. If
    only pages open the inner channel, it is for those to whom a page has shown the outer one.

    Args:
        channels: The app's channels.
        allowed: Topics that their channels' rules have let the client see.
        signed: Keys of the fragments that pages of the app have shown the client.
    """

    channels: AppChannels
    allowed: frozenset[str]
    signed: frozenset[str]

    def __call__(self, key: str, inner: Iterable[str], declared: Iterable[str] = ()) -> bool:
        """Whether the client may see a fragment.

        Args:
            key: The outer fragment's.
            inner: Topics of the fragments inside, other than its own.
            declared: Names of channels of which it may contain fragments.
        """
        for topic in inner:
            channel = self.channels.of(topic)
            if channel is not None and channel.authorizer is not None:
                if topic not in self.allowed:
                    return False
            elif not self._is_open(channel, key):
                return False
        channels = map(self.channels.get, declared)
        return all(
            channel is None or channel.authorizer is not None or self._is_open(channel, key)
            for channel in channels
        )

    def _is_open(self, channel: Channel | None, key: str) -> bool:
        return channel is None or channel.public or key in self.signed


class Renders(Protocol):
    """Knows what fragments contain; the hub of the process."""

    def nested(self, topic: str, fragment: str) -> frozenset[tuple[str, str]]:
        """Return (topic, fragment) of what a shared fragment contains, as far as is known here."""


class Gate:
    """Decides who may listen, for one app.

    Args:
        host: Calls the app's functions.
        channels: The app's channels.
        signer: Verifies tokens.
        broker: Keeps lists of topics that are too long for a token.
        identify: Returns who makes the current request.
        renders: Knows what fragments contain.
        errors: Where errors of the app's functions are logged.
    """

    def __init__(
        self,
        host: Host,
        channels: AppChannels,
        signer: Signer,
        broker: Broker,
        identify: Callable[[], Awaitable[str | None]],
        renders: Renders,
        errors: ErrorLog,
    ) -> None:
        self.host = host
        self.channels = channels
        self.renders = renders
        self.errors = errors
        self._signer = signer
        self._broker = broker
        self._identify = identify

    async def identity(self) -> str | None:
        """Return who makes the current request; the app is asked once for each request.

        Raises:
            Exception: What the function of ``@sse.identity`` raised.
        """
        exchange = self.host.exchange()
        if not exchange.is_identified:
            exchange.identity = await self._identify()
            exchange.is_identified = True
        return exchange.identity

    async def identify(self) -> str | None:
        """Return who makes the current request, which asks for a stream or a fragment.

        Raises:
            Refusal: If the function of ``@sse.identity`` refuses, as by ``abort(401)``, or failed.
        """
        try:
            return await self.identity()
        except Exception as error:
            if isinstance(error, HTTPException) and is_refusal(error):
                raise Refusal(Ending.REFUSED) from error
            self.errors.log(
                "function of @sse.identity",
                error,
                "The function of @sse.identity failed, so the client gets neither stream nor "
                "fragment for now.",
            )
            raise Refusal(Ending.ERROR) from error

    async def verify(self, text: str, identity: str | None) -> Token | None:
        """Return what a token allows a client, with topics that are kept at the broker for it.

        Args:
            text: What stood in the URL; it may be anything.
            identity: Of the client.

        Raises:
            BrokerUnavailable: If the topics are kept at the broker, and it is away.
        """
        token = self._signer.verify(text, identity)
        if token is None or not token.reference:
            return token
        topics = await self._broker.kept_text(token.reference)
        if topics is None:
            return None
        if reference_of(topics) != token.reference:
            logger.error(
                "The list of topics that is kept at the broker as %r is not what was kept; it is "
                "refused. Another program writes to its keys.",
                token.reference,
            )
            return None
        return token._replace(topics=read_topics(topics))


class Judgement:
    """Judges what one request asks for; each question is asked once.

    Args:
        gate: Of the app.
        tokens: The URL's, in order; None for those that are not good.
    """

    def __init__(self, gate: Gate, tokens: list[Token | None]) -> None:
        self._gate = gate
        self._channels = gate.channels
        self._tokens = tokens
        self._asked: dict[str, bool] = {}
        # Made once: a URL may ask for thousands of fragments, and each of them is looked at.
        self._signed = frozenset(
            member_key(topic, name)
            for token in tokens
            if token is not None and token.is_good
            for topic, names in token.topics.items()
            for name in names
        )

    async def admit(self) -> Admission:
        """Judge everything that the URL asks for, in the request of the client.

        A refusal never tells whether a topic exists. One token's refusal costs only its own
        topics.

        Raises:
            Refusal: If an ``authorize`` function failed.
        """
        admission = Admission()
        for number, token in enumerate(self._tokens):
            if token is None:
                admission.refused_tokens.append(number)
                continue
            for place, (topic, fragments) in enumerate(token.topics.items()):
                grant = await self.judge(topic, token)
                channel = self._channels.of(topic)
                if grant is Grant.NO or channel is None:
                    admission.refused_topics.append(topic)
                    if self._has_expired(channel, token):
                        admission.expired_tokens.append(number)
                    continue
                known = fragments & channel.specs.keys()
                held = admission.subscription.get(topic, frozenset())
                admission.subscription[topic] = held | known
                admission.tokens_of.setdefault(topic, []).append(number)
                admission.bits[number, topic] = 1 << place
                if admission.grants.get(topic) is not Grant.WHOLE:
                    admission.grants[topic] = grant
            if not admission.granted_to(number):
                # Alone it would be told to stop; beside others its page must not seem to be live.
                admission.refused_tokens.append(number)
        return admission

    async def refuse_outer(self, admission: Admission) -> None:
        """Refuse fragments that contain others which the client may not see.

        Args:
            admission: What was granted so far; it is changed.

        Raises:
            Refusal: If an ``authorize`` function failed.
        """
        for topic, names in list(admission.subscription.items()):
            channel = self._channels.of(topic)
            for name in sorted(names):
                spec = channel.specs.get(name) if channel is not None else None
                if spec is not None and not spec.personal:
                    nested = self._gate.renders.nested(topic, name) | self._signed_beside(
                        topic, spec
                    )
                    if not await self.may_contain(topic, spec, nested):
                        admission.refuse(topic, [name])
        admission.may_see = self.sight()

    def sight(self) -> "Sight":
        """Return what the client may see inside fragments, as far as it was asked."""
        return Sight(
            self._channels,
            frozenset(topic for topic, is_yes in self._asked.items() if is_yes),
            self._signed,
        )

    async def judge(self, topic: str, token: Token | None) -> Grant:
        """Return what of a topic the client may have.

        All of it if the channel is public or its ``authorize`` agrees; what a page has shown, if
        there is the token that the page signed. ``authorize``, where there is one, has the last
        word over tokens too.
        """
        channel = self._channels.of(topic)
        if channel is None:
            return Grant.NO
        if channel.authorizer is not None:
            return Grant.WHOLE if await self._ask(channel, topic) else Grant.NO
        if self._channels.values(topic) is None:
            return Grant.NO
        if channel.public:
            return Grant.WHOLE
        return Grant.SIGNED if token is not None and token.is_good else Grant.NO

    async def may_contain(
        self, topic: str, spec: FragmentSpec, nested: Iterable[tuple[str, str]]
    ) -> bool:
        """Whether the client may see what a shared fragment contains of other topics.

        Args:
            topic: Of the outer fragment.
            spec: How the outer fragment was declared.
            nested: (topic, fragment) of those inside, as far as they are known.

        Raises:
            Refusal: If an ``authorize`` function failed.
        """
        inner = {other for other, _ in nested} - {topic}
        if not inner and not spec.includes:
            return True
        for other in sorted(inner):
            channel = self._channels.of(other)
            if channel is not None and channel.authorizer is not None:
                await self._ask(channel, other)
        # Those that are declared count before it is known whether they are really there.
        declared = {name.partition(".")[0] for name in spec.includes}
        return self.sight()(member_key(topic, spec.name), inner, declared)

    async def _ask(self, channel: Channel, topic: str) -> bool:
        """Ask a channel's ``authorize``, once for each topic."""
        if topic not in self._asked:
            name = f"authorize of channel {channel.name!r}"
            values = self._channels.values(topic)
            assert channel.authorizer is not None
            try:
                self._asked[topic] = values is not None and await decide(
                    self._gate.host, channel.authorizer, values, name
                )
            except Exception as error:
                self._gate.errors.log(
                    name,
                    error,
                    "The %s failed for topic %r, so the client gets neither stream nor fragment "
                    "for now.",
                    name,
                    topic,
                )
                raise Refusal(Ending.ERROR) from error
        return self._asked[topic]

    def _signed_beside(self, topic: str, spec: FragmentSpec) -> frozenset[tuple[str, str]]:
        """Return what a page that shows a fragment has shown of those which it may contain."""
        if not spec.includes:
            return frozenset()
        return frozenset(
            (other, name)
            for token in self._tokens
            if token is not None and spec.name in token.topics.get(topic, ())
            for other, names in token.topics.items()
            for name in names
            if declared_name(other, name) in spec.includes
        )

    @staticmethod
    def _has_expired(channel: Channel | None, token: Token) -> bool:
        """Whether a topic was refused because its signature has expired, and for nothing else."""
        stands_alone = channel is not None and channel.authorizer is None
        return stands_alone and token.is_signed and token.is_expired
