"""What one request may listen to, judged by its tokens, ``authorize`` and nested fragments."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..channels import AppChannels, Declaration, Topic
from ..hub import NO_NAMES, FragmentSpec
from ..logs import LogLine
from ..serving_loop import Pauses
from ..wire import Ending, Refusal, declared_name, member_key
from .answers import decide
from .gate import Gate
from .tokens import Token


class Grant(Enum):
    """Part of a topic that a client may listen to."""

    NO = "no"
    SIGNED = "signed"  #: the events, and the fragments that the token names
    WHOLE = "whole"  #: the events and all fragments


@dataclass(slots=True)
class Admission:
    """Result of judging one request: what its connection may listen to, and what was refused.

    A token is given by its number: its place among the ``t=`` of the URL, from 0.
    """

    #: topic -> names of its granted fragments
    subscription: dict[str, frozenset[str]] = field(default_factory=dict)
    #: topic -> numbers of the tokens that granted it
    tokens_of: dict[str, list[int]] = field(default_factory=dict)
    #: topic -> granted part
    grants: dict[str, Grant] = field(default_factory=dict)
    #: numbers of the tokens without any granted topic
    refused_tokens: list[int] = field(default_factory=list)
    #: names of refused topics, in the order of the URL
    refused_topics: list[str] = field(default_factory=list)
    #: keys of fragments that were refused inside granted topics
    refused_fragments: list[str] = field(default_factory=list)
    #: numbers of the tokens that lost a topic for no other reason than an expired signature
    expired_tokens: list[int] = field(default_factory=list)
    #: judges nested fragments in later renders; None before :meth:`Judgement.refuse_outer`
    may_see: "Sight | None" = None
    #: (token, topic) -> bit of the topic in positions: 1 << its place in the token's list
    bits: dict[tuple[int, str], int] = field(default_factory=dict)
    #: numbers of the tokens that list no topic: their pages are sent what is for everyone
    empty_tokens: list[int] = field(default_factory=list)
    #: numbers of the tokens that are bound to the client's own identity
    own_tokens: list[int] = field(default_factory=list)
    #: numbers of the tokens that are bound to no identity
    unbound_tokens: list[int] = field(default_factory=list)
    #: token that is bound to an identity -> bit of the user's own events in positions
    user_bits: dict[int, int] = field(default_factory=dict)

    def tokens_for(self, identity: str | None) -> list[int]:
        """Return the numbers of the tokens whose pages were made for a client.

        These pages are sent what the app sends to the client's connection.

        Args:
            identity: Identity of the client; None for a visitor.
        """
        return self.unbound_tokens if identity is None else self.own_tokens

    @property
    def is_empty(self) -> bool:
        """Whether nothing was granted, not even a page without topics."""
        return not self.subscription and not self.empty_tokens

    def granted_to(self, number: int) -> list[str]:
        """Return the topics that a token granted, by the token's number."""
        return [topic for topic, numbers in self.tokens_of.items() if number in numbers]

    def narrow(self, topic: str, fragments: frozenset[str]) -> None:
        """Narrow a granted topic to some of its fragments; a refused topic stays refused.

        Args:
            topic: The topic to narrow.
            fragments: Names of the fragments that the request asks for.
        """
        if topic in self.subscription:
            signed = self.subscription[topic]
            is_whole = self.grants[topic] is Grant.WHOLE
            kept = fragments if is_whole else fragments & signed
            self.subscription[topic] = frozenset(kept) or NO_NAMES

    def refuse(self, topic: str, fragments: Iterable[str]) -> None:
        """Move fragments of a granted topic to the refused ones; its events stay granted."""
        for name in fragments:
            self.subscription[topic] -= {name}
            self.refused_fragments.append(member_key(topic, name))


@dataclass(frozen=True, slots=True)
class Sight:
    """Judges which fragments a client may see, by the fragments that they contain.

    A fragment that contains a fragment of another channel takes over that channel's rule: its
    ``authorize`` must agree. An inner channel without ``authorize`` must be public, or a token must
    name the outer fragment.

    Args:
        channels: The app's channels.
        allowed: Topics whose ``authorize`` has agreed.
        signed: Keys of the fragments that the client's tokens name.
    """

    channels: AppChannels
    allowed: frozenset[str]
    signed: frozenset[str]

    def __call__(self, key: str, inner: Iterable[str], declared: Iterable[str] = ()) -> bool:
        """Whether the client may see an outer fragment.

        Args:
            key: Key of the outer fragment.
            inner: Topics of the fragments that it contains, without its own topic.
            declared: Names of the channels that its ``includes=`` lists.
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

    def _is_open(self, channel: Declaration | None, key: str) -> bool:
        return channel is None or channel.public or key in self.signed


AUTHORIZE_FAILED = LogLine(
    "access",
    "authorize-failed",
    logging.ERROR,
    "The %(function)s failed for topic %(topic)r; the request is refused, and a stream's client "
    "retries.",
    function=str,
    topic=str,
)


class Judgement:
    """Judges one request, calling ``authorize`` at most once per topic.

    Args:
        gate: The app's gate.
        tokens: The tokens of the URL in their order; None for each that did not verify.
        topic: The topic that the request's own URL has led to; None for none.
    """

    def __init__(self, gate: Gate, tokens: list[Token | None], topic: Topic | None = None) -> None:
        self._gate = gate
        self._channels = gate.channels
        self._tokens = tokens
        self._asked: dict[str, bool] = {}
        self._validated: dict[str, bool] = {}
        # Topic -> its parameters; None if it cannot exist. The URL map is asked once for each.
        self._values: dict[str, Mapping[str, Any] | None] = {}
        if topic is not None:
            self._values[topic.name] = topic.params
        # Built once: a URL may name thousands of fragments, and each of them is looked up here.
        self._signed = frozenset(
            member_key(topic, name)
            for token in tokens
            if token is not None and token.is_good
            for topic, names in token.topics.items()
            for name in names
        )

    async def admit(self) -> Admission:
        """Judge every topic of every token, in the context of the client's request.

        A refused topic looks like one that does not exist. A refused token refuses only its own
        topics, so other tabs of a shared stream stay live.

        Returns:
            The granted and the refused topics; nested fragments are not judged yet.

        Raises:
            Refusal: ``ERROR`` if an ``authorize`` failed.
        """
        admission, pauses = Admission(), Pauses()
        for number, token in enumerate(self._tokens):
            if token is None:
                admission.refused_tokens.append(number)
                continue
            if token.is_bound:
                admission.user_bits[number] = 1 << len(token.topics)
            if token.is_bound and token.is_signed:
                admission.own_tokens.append(number)
            if not token.is_bound:
                admission.unbound_tokens.append(number)
            if not token.topics and (token.is_good or number in admission.own_tokens):
                admission.empty_tokens.append(number)
                continue
            for place, (topic, fragments) in enumerate(token.topics.items()):
                await pauses.due()
                grant = await self.judge(topic, token)
                channel = self._channels.of(topic)
                if grant is Grant.NO or channel is None:
                    admission.refused_topics.append(topic)
                    if self._has_expired(channel, token):
                        admission.expired_tokens.append(number)
                    continue
                # Long lists name the same few fragments: one set serves all of their topics.
                names = channel.names
                is_known = all(name in names for name in fragments)
                known = fragments if is_known else fragments.intersection(names)
                held = admission.subscription.get(topic)
                admission.subscription[topic] = held | known if held else known
                admission.tokens_of.setdefault(topic, []).append(number)
                admission.bits[number, topic] = 1 << place
                if admission.grants.get(topic) is not Grant.WHOLE:
                    admission.grants[topic] = grant
            if not admission.granted_to(number):
                # Alone it would get sse-stop; beside others, its page must not seem live either.
                admission.refused_tokens.append(number)
        return admission

    async def refuse_outer(self, admission: Admission) -> None:
        """Refuse shared fragments that contain fragments which the client may not see.

        Args:
            admission: Result of :meth:`admit`; refused fragments are moved out of its subscription.

        Raises:
            Refusal: ``ERROR`` if an ``authorize`` failed.
        """
        pauses = Pauses()
        for topic, names in list(admission.subscription.items()):
            await pauses.due()
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
        """Return the judge of nested fragments, by every ``authorize`` that was called so far."""
        return Sight(
            self._channels,
            # Each stream keeps them.
            frozenset(topic for topic, is_yes in self._asked.items() if is_yes) or NO_NAMES,
            self._signed or NO_NAMES,
        )

    async def judge(self, topic: str, token: Token | None) -> Grant:
        """Return the part of a topic that the client may listen to.

        A channel with ``authorize`` grants all or nothing by it, whatever the token says. A public
        channel grants all. Any other channel grants what a valid token names.

        Args:
            topic: Name of the topic, from an untrusted client.
            token: The token that names the topic; None if none does.

        Raises:
            Refusal: ``ERROR`` if ``authorize`` failed.
        """
        channel = self._channels.of(topic)
        if channel is None:
            return Grant.NO
        if self._values_of(topic) is None:
            return Grant.NO
        if channel.validator is not None and not await self._ask(
            channel, topic, channel.validator, "validate"
        ):
            return Grant.NO
        if channel.authorizer is not None:
            is_granted = await self._ask(channel, topic, channel.authorizer, "authorize")
            return Grant.WHOLE if is_granted else Grant.NO
        if channel.public:
            return Grant.WHOLE
        return Grant.SIGNED if token is not None and token.is_good else Grant.NO

    async def may_contain(
        self, topic: str, spec: FragmentSpec, nested: Iterable[tuple[str, str]]
    ) -> bool:
        """Whether the client may see the fragments of other topics inside a shared fragment.

        Args:
            topic: Topic of the outer fragment.
            spec: Declaration of the outer fragment.
            nested: (topic, fragment) of the known fragments inside.

        Raises:
            Refusal: ``ERROR`` if an ``authorize`` failed.
        """
        inner = {other for other, _ in nested} - {topic}
        if not inner and not spec.includes:
            return True
        for other in sorted(inner):
            channel = self._channels.of(other)
            if channel is not None and channel.authorizer is not None:
                await self._ask(channel, other, channel.authorizer, "authorize")
        # Declared channels count before the first render shows whether they are really inside.
        declared = {name.partition(".")[0] for name in spec.includes}
        return self.sight()(member_key(topic, spec.name), inner, declared)

    async def _ask(
        self, channel: Declaration, topic: str, function: Callable[..., Any], what: str
    ) -> bool:
        """Call a channel's ``authorize`` or ``validate``, once per topic of this request."""
        asked = self._asked if what == "authorize" else self._validated
        if topic not in asked:
            name = f"{what} of channel {channel.name!r}"
            values = self._values_of(topic)
            try:
                asked[topic] = values is not None and await decide(
                    self._gate.host, function, values, name
                )
            except Exception as error:
                self._gate.errors.log(name, error, AUTHORIZE_FAILED, function=name, topic=topic)
                raise Refusal(Ending.ERROR) from error
        return asked[topic]

    def _values_of(self, topic: str) -> Mapping[str, Any] | None:
        """Return a topic's parameters, or None if no such topic can exist."""
        if topic not in self._values:
            self._values[topic] = self._channels.values(topic)
        return self._values[topic]

    def _signed_beside(self, topic: str, spec: FragmentSpec) -> frozenset[tuple[str, str]]:
        """Return the fragments of ``includes=`` that a token names beside the outer fragment.

        This process may not have rendered the outer fragment yet, while the page shows what is
        inside it.
        """
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
    def _has_expired(channel: Declaration | None, token: Token) -> bool:
        """Whether a topic was refused for no other reason than its token's expired signature."""
        stands_alone = channel is not None and channel.authorizer is None
        return stands_alone and token.is_signed and token.is_expired
