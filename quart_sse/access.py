"""Who may listen: tokens, ``authorize``, origins."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from quart import Quart, Request
from werkzeug.exceptions import HTTPException

from .connection import Subscription
from .signer import Token, read_topics
from .state import State


def is_foreign(request: Request, allowed: tuple[str, ...]) -> bool:
    """Whether a request comes from a page of another origin.

    See https://www.w3.org/TR/fetch-metadata/ for ``Sec-Fetch-Site``; where a browser does not
    send it, ``Origin`` must be ours. Requests of no page (a command line, a server) have neither.
    """
    origin = request.headers.get("Origin")
    if origin in allowed:
        return False
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    try:
        return origin is not None and urlsplit(origin).netloc != request.host
    except ValueError:
        return True  # such as http://[


async def verify(state: State, text: str, identity: str | None) -> Token | None:
    """Return what a token allows whoever asks, with topics that are kept at the broker for it.

    Args:
        state: Of the app.
        text: What stood in the URL; it may be anything.
        identity: Who asks.

    Raises:
        BrokerUnavailable: If the topics are kept at the broker, and it is away.
    """
    token = state.signer.verify(text, identity)
    if token is None or not token.reference:
        return token
    topics = await state.broker.kept_text(token.reference)
    return None if topics is None else token._replace(topics=read_topics(topics))


@dataclass(slots=True)
class Admission:
    """What a connection may listen to."""

    subscription: dict[str, frozenset[str]] = field(default_factory=dict)
    #: topic -> which tokens of the URL granted it
    tokens_of: dict[str, list[int]] = field(default_factory=dict)
    #: which tokens were refused wholly, and which topics of others
    refused_tokens: list[int] = field(default_factory=list)
    refused_topics: list[str] = field(default_factory=list)
    #: (token, topic) -> its bit: bit i stands for topic i of the token, granted or not
    bits: dict[tuple[int, str], int] = field(default_factory=dict)

    def granted_to(self, number: int) -> list[str]:
        """Return the topics that a token of the URL granted."""
        return [topic for topic, numbers in self.tokens_of.items() if number in numbers]


async def admit(state: State, tokens: list[Token | None]) -> Admission:
    """Judge everything that a URL asks for, in the request of whoever asks.

    A refusal never tells whether a topic exists. One token's refusal costs only its own topics.

    Args:
        state: Of the app.
        tokens: The URL's, in order; None for those that are not good.

    Raises:
        Exception: Whatever ``authorize`` raised, other than an HTTP refusal.
    """
    admission = Admission()
    judged: dict[tuple[str, bool], bool] = {}
    for number, token in enumerate(tokens):
        if token is None:
            admission.refused_tokens.append(number)
            continue
        bit = 1
        for topic, fragments in token.topics.items():
            question = topic, token.is_signed and not token.is_expired
            if question not in judged:
                judged[question] = await may_listen(state, topic, token)
            channel = state.channel_of(topic)
            if judged[question] and channel is not None:
                known = fragments & channel.specs.keys()
                held = admission.subscription.get(topic, frozenset())
                admission.subscription[topic] = held | known
                admission.tokens_of.setdefault(topic, []).append(number)
                admission.bits[number, topic] = bit
            else:
                admission.refused_topics.append(topic)
            bit <<= 1
        if not admission.granted_to(number):
            # Alone it would be told to stop; beside others its page must not seem to be live.
            admission.refused_tokens.append(number)
    return admission


async def may_listen(state: State, topic: str, token: Token | None) -> bool:
    """Whether whoever makes the current request may listen to a topic.

    Yes if the channel is public, its ``authorize`` agrees, or there is a token that a page of
    ours signed. ``authorize``, where there is one, has the last word over tokens too.
    """
    channel = state.channel_of(topic)
    values = channel.values(state.app, topic) if channel is not None else None
    if channel is None or values is None:
        return False
    if channel.authorizer is not None:
        return await ask(state.app, channel.authorizer, values)
    return channel.public or (token is not None and token.is_signed and not token.is_expired)


async def ask(app: Quart, authorizer: Callable[..., Any], values: Mapping[str, Any]) -> bool:
    """Ask an application's ``authorize``; ``abort(4xx)`` in it is a no."""
    try:
        return bool(await app.ensure_async(authorizer)(**values))
    except HTTPException as error:
        if error.code is not None and 400 <= error.code < 500:
            return False
        raise


def private(subscription: Subscription, state: State) -> bool:
    """Whether any topic of a page needs a token, because its channel is not public."""
    channels = (state.channel_of(topic) for topic in subscription)
    return any(channel is None or not channel.public for channel in channels)
