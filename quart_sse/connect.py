"""How a request becomes a stream: what it asks for, what it may have, where it starts."""

import asyncio
import logging
import math
import random
import secrets
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote

from quart import Request, Response, abort, request

from .access import Admission, Gate, Grant, Refused, Undecided, identify, verify
from .addresses import root_of
from .broker import Start
from .channel import Topic
from .connection import Connection, Personal
from .ending import Ending
from .errors import BrokerUnavailable
from .event import Event, encode_loader, encode_replacement
from .leaf import Leaf, leaf_key, make_leaf
from .naming import member_key
from .origins import is_foreign
from .position import Position
from .signer import Token
from .state import State, current_state, current_visit
from .stream import (
    EventStream,
    Refusal,
    StreamBody,
    has_room,
    is_full,
    no_stream,
    was_stopped,
)

logger = logging.getLogger("quart_sse")

#: The part of a token's lifetime after which its page gets another.
RENEW = 0.8
#: Viewers of a personal fragment fetch it within this many milliseconds each, up to the last.
SPREAD_MS = 5
LAST_SPREAD_MS = 2000


def wants_stream(request: Request) -> bool:
    """Whether a client asks for an event stream, as ``EventSource`` and htmx 4 do."""
    return "text/event-stream" in request.headers.get("Accept", "")


async def answer_connect() -> Response:
    """Answer a request for a stream of the topics of its tokens: the endpoint ``sse.connect``."""
    config = current_state().config
    texts = request.args.getlist("t")
    return await _answer(texts, bare=False, too_much=len(texts) > config.max_tokens or not texts)


async def answer_channel(topic: str, fragments: frozenset[str]) -> Response:
    """Answer a request for a stream of one topic at its channel's own URL.

    A token in the query must name the topic; without one the channel must be public or its
    ``authorize`` agree.
    """
    texts = request.args.getlist("t")
    return await _answer(
        texts, bare=True, too_much=len(texts) > 1, topic=topic, fragments=fragments
    )


async def _answer(
    texts: list[str],
    *,
    bare: bool,
    too_much: bool,
    topic: str | None = None,
    fragments: frozenset[str] = frozenset(),
) -> Response:
    if was_stopped(request):
        return no_stream()
    state = current_state()
    try:
        _check_request(state, too_much)
        identity = await identify(state)
        tokens = await _verified(state, texts, identity)
        if topic is not None:
            tokens = [_narrow(tokens[0] if tokens else None, topic, fragments)]
        # Each for itself: tabs that share a connection cannot know of each other's.
        if any(token and len(token.topics) > state.config.max_topics for token in tokens):
            raise Refusal(Ending.TOO_LONG)
        admission = await _admitted(state, tokens, topic, fragments)
        response = _stream(state, admission, tokens, texts, identity, bare)
        # HEAD has the status and the headers that GET would have, and opens no stream.
        return EventStream() if request.method == "HEAD" else response
    except Refused:
        return _refused_with(Ending.REFUSED)
    except Undecided:
        return _refused_with(Ending.ERROR)
    except Refusal as refusal:
        return _refused_with(refusal.ending)


def _refused_with(ending: Ending) -> Response:
    if wants_stream(request):
        return EventStream(b"" if request.method == "HEAD" else ending.encode())
    abort(ending.status)


async def _admitted(
    state: State, tokens: list[Token | None], topic: str | None, fragments: frozenset[str]
) -> Admission:
    """Judge what a URL asks for.

    Raises:
        Refusal: If nothing is granted.
        Undecided: If an ``authorize`` function failed.
    """
    gate = Gate(state, tokens)
    admission = await gate.admit()
    if topic is not None:
        admission.narrow(topic, fragments)
    await gate.refuse_outer(admission)
    if not admission.subscription:
        raise Refusal(Ending.EXPIRED if admission.expired_tokens else Ending.REFUSED)
    return admission


def _check_request(state: State, too_much: bool) -> None:
    """Refuse what needs no look at tokens, before anything is verified or counted."""
    if is_foreign(request, state.app, state.config):
        current_visit().is_foreign = True
        abort(403)
    if state.is_closing:
        raise Refusal(Ending.SHUTDOWN)
    if too_much or len(request.query_string) > state.config.max_query:
        raise Refusal(Ending.TOO_LONG)
    if is_full(state):
        raise Refusal(Ending.OVERLOADED)


async def _verified(state: State, texts: list[str], identity: str | None) -> list[Token | None]:
    try:
        return [await verify(state, text, identity) for text in texts]
    except BrokerUnavailable:
        raise Refusal(Ending.BROKER_AWAY) from None


def _narrow(token: Token | None, topic: str, fragments: frozenset[str]) -> Token:
    """Return a token for one topic: the given one if it names it, with what it has signed."""
    if token is not None and topic in token.topics:
        return token._replace(topics={topic: token.topics[topic]})
    return Token({topic: fragments}, "", 0.0, is_signed=False, is_expired=False)


def _stream(
    state: State,
    admission: Admission,
    tokens: list[Token | None],
    texts: list[str],
    identity: str | None,
    bare: bool,
) -> Response:
    config, root = state.config, root_of(state.config)
    browser = state.signer.read_browser(request.cookies.get(config.browser_cookie))
    # A browser that is not known yet may be any number of them, so its address counts too.
    address = request.remote_addr if browser is None else None
    if is_full(state, admission.subscription, address) or not has_room(state, root):
        raise Refusal(Ending.OVERLOADED)
    is_new = browser is None and bool(config.browser_cookie) and state.signer.has_key
    if is_new:
        browser = secrets.token_urlsafe(12)

    connection = Connection(
        admission.subscription,
        config,
        loader=_loader(state, root, admission, tokens, texts),
        identity=identity,
        browser=browser,
        address=address,
        bare=bare,
        root=root,
    )
    connection.may_see = admission.may_see
    connection.introduction["topics"] = [
        admission.granted_to(number) for number in range(len(tokens))
    ]
    if admission.expired_tokens:
        connection.introduction["expired"] = sorted(set(admission.expired_tokens))
    connection.judged_at = current_visit().began
    connection.kick = current_visit().kick
    connection.ends_at = _end_of_signatures(state, admission, tokens)
    if not bare:
        _renew_in_time(state, connection, admission, tokens, root)
    if admission.refused_topics or admission.refused_tokens or admission.refused_fragments:
        connection.ahead([_refused(admission)])
    starts, granted = find_starts(state, admission, request)
    _notice_others(state, tokens, starts)
    response = EventStream(StreamBody(state, connection, starts, granted, _is_multiplexed()))
    if is_new and browser is not None:
        response.set_cookie(
            config.browser_cookie,
            state.signer.sign_browser(browser),
            path=root or "/",
            httponly=True,
            samesite="Lax",
            secure=request.is_secure,
        )
    return response


def _is_multiplexed() -> bool:
    """Whether the browser has many streams on one socket, as over HTTP/2."""
    return request.http_version[:1] not in {"0", "1"}


def open_own_stream(
    topics: Iterable[Topic],
    initial: Iterable[Event],
    metadata: Mapping[str, object] | None,
    identity: str | None,
) -> Response:
    """Return the stream of one of the app's own views; see ``SSE.stream``."""
    state = current_state()
    if is_foreign(request, state.app, state.config):
        current_visit().is_foreign = True
        abort(403)
    if was_stopped(request):
        return no_stream()
    root = root_of(state.config)
    if state.is_closing:
        return EventStream(Ending.SHUTDOWN.encode())
    if not has_room(state, root):
        return EventStream(Ending.OVERLOADED.encode())
    shown = {topic.name: topic.channel.shared for topic in topics}
    admission = Admission(
        shown,
        {name: [0] for name in shown},
        bits={(0, name): 1 << i for i, name in enumerate(shown)},
    )
    config = state.config
    browser = state.signer.read_browser(request.cookies.get(config.browser_cookie))
    connection = Connection(
        shown,
        config,
        loader=_no_loader,
        identity=identity,
        browser=browser,
        address=request.remote_addr if browser is None else None,
        bare=len(shown) == 1,
        root=root,
        metadata=metadata,
    )
    connection.judged_at = current_visit().began
    connection.kick = current_visit().kick
    connection.ahead([event.encode() for event in initial])
    starts, _ = find_starts(state, admission, request)
    body = StreamBody(state, connection, starts, is_multiplexed=_is_multiplexed())
    return EventStream() if request.method == "HEAD" else EventStream(body)


def _no_loader(personal: Personal) -> bytes:
    # A view's own stream belongs to no page of the macros, which alone show personal fragments.
    return b""


def _renew_in_time(
    state: State,
    connection: Connection,
    admission: Admission,
    tokens: list[Token | None],
    root: str,
) -> None:
    """Let the pages of a stream that stays open get new tokens at 80 % of the old ones' life."""
    signed = []
    for number, token in enumerate(tokens):
        granted = admission.granted_to(number)
        if token is not None and token.is_signed and granted:
            signed.append((token, granted))
    if not signed:
        return

    async def renew_one(token: Token, granted: list[str]) -> Leaf:
        # Tabs know what is theirs by its key, so it stays even if a topic has been refused since.
        identity = connection.identity if token.is_bound else None
        topics = {topic: token.topics[topic] for topic in granted}
        key = leaf_key(state, token.topics, identity)
        return await make_leaf(
            state, topics, root=root, identity=identity, key=key, first=token.first
        )

    async def renew() -> Callable[[Position], bytes]:
        leaves = [(token.page, await renew_one(token, granted)) for token, granted in signed]
        return lambda since: b"".join(
            encode_replacement(f"sse-{page}", str(leaf.element(since))) for page, leaf in leaves
        )

    oldest = max(state.signer.age(token) for token, _ in signed)
    left = RENEW * state.config.token_lifetime - oldest
    connection.renew_at = asyncio.get_running_loop().time() + max(left, 0.0)
    connection.renew = renew


def _end_of_signatures(state: State, admission: Admission, tokens: list[Token | None]) -> float:
    """Return the loop time until which no signature that a stream stands on is renewed further."""
    ends = [
        state.signer.left(token)
        for number, token in enumerate(tokens)
        if token is not None
        and any(admission.grants[topic] is Grant.SIGNED for topic in admission.granted_to(number))
    ]
    return asyncio.get_running_loop().time() + min(ends, default=math.inf)


def _notice_others(state: State, tokens: list[Token | None], starts: Mapping[str, Start]) -> None:
    """Say once that several processes serve the app without a broker that they share.

    A page that was made while this process ran, and begins in another order of messages, was
    made by another process.
    """
    known = state.broker.known
    if state.has_warned or state.broker.is_shared or known is None:
        return
    is_young = any(token and token.page and token.issued > state.began + 1 for token in tokens)
    epochs = {start.position.epoch for start in starts.values() if start.position is not None}
    if is_young and epochs - {known.epoch}:
        state.has_warned = True
        logger.warning(
            "Another process serves pages of this app, and %s carries nothing between the two: "
            "viewers miss whatever the other one publishes. Set QUART_SSE_BROKER_URL to a Redis "
            "that all processes share, or run one process.",
            state.config.broker_url,
        )


def _refused(admission: Admission) -> bytes:
    data = {
        "tokens": admission.refused_tokens,
        "topics": admission.refused_topics,
        "fragments": admission.refused_fragments,
    }
    return Event(current_state().app.json.dumps(data), "sse-refused").encode()


def find_starts(
    state: State, admission: Admission, request: Request
) -> tuple[dict[str, Start], int | None]:
    """Return where each topic starts, and the position's note of what was granted.

    One token: ``Last-Event-ID`` where it covers the topic, else the page's ``since``. Several:
    each its own ``since``, for one id cannot say where each of them stood. A ``since`` lists the
    positions of all tabs that share a token. Only a client that sends neither starts at now.
    """
    sinces = request.args.getlist("since")
    last = request.headers.get("Last-Event-ID")
    is_single = len(request.args.getlist("t")) <= 1
    resumed = Position.parse(last) if is_single else None
    has_last = is_single and bool(last)

    starts = {}
    for topic in admission.subscription:
        channel = state.channel_of(topic)
        assert channel is not None  # it was admitted
        given = [
            _covering(text, admission.bits[number, topic])
            for number in admission.tokens_of[topic]
            if number < len(sinces)
            for text in sinces[number].split(",")
        ]
        use_last = has_last and (resumed is None or _covers(resumed, admission.bits[0, topic]))
        starts[topic] = Start(
            resumed if use_last else _oldest(given),
            admission.subscription[topic],
            channel.keep(state.config),
            now=not has_last and not given and is_single,
        )
    some_refused = bool(admission.refused_topics) and is_single
    return starts, sum(set(admission.bits.values())) if some_refused else None


def _covers(position: Position, bit: int) -> bool:
    """Whether a position was given to a stream which had the topic of a bit."""
    return position.granted is None or bool(position.granted & bit)


def _covering(text: str, bit: int) -> Position | None:
    position = Position.parse(text)
    return position if position is not None and _covers(position, bit) else None


def _oldest(given: list[Position | None]) -> Position | None:
    """Return the position from which all pages that show a topic can be given what they lack.

    None, and so nothing is known, if that of any page is missing or does not cover the topic.
    """
    known = [position for position in given if position is not None]
    if not known or len(known) < len(given) or len({p.epoch for p in known}) > 1:
        return None
    events = min(position.events for position in known)
    fragments = min(position.fragments for position in known)
    return Position(known[0].epoch, events, fragments)


def _loader(
    state: State,
    root: str,
    admission: Admission,
    tokens: list[Token | None],
    texts: list[str],
) -> "Loader":
    """Return what makes the messages by which a viewer fetches personal fragments.

    Pages that share a stream may show different fragments of one topic, and each fragment opens
    by a token that names it.
    """
    queries: dict[tuple[str, str], str] = {}
    for topic, numbers in admission.tokens_of.items():
        for number in numbers:
            token = tokens[number]
            if token is not None and number < len(texts):
                query = f"?t={quote(texts[number], safe='~')}"
                for name in token.topics[topic]:
                    queries.setdefault((topic, name), query)
    return Loader(state, root, queries)


class Loader:
    """Makes the messages by which one connection's viewer fetches personal fragments.

    Args:
        state: Of the app.
        root: The app's root path as the viewer sees it.
        queries: (topic, fragment) -> the query that lets the viewer fetch it.
    """

    def __init__(self, state: State, root: str, queries: Mapping[tuple[str, str], str]) -> None:
        self._state = state
        self._root = root
        self._queries = queries

    def __call__(self, personal: Personal) -> bytes:
        """Return the message, with a random delay: viewers do not all come at once."""
        topic, fragment = personal.topic, personal.fragment
        channel = self._state.channel_of(topic)
        assert channel is not None  # its change was announced
        path = channel.fragment_url(self._state.app, topic, fragment)
        spread = min(SPREAD_MS * personal.viewers, LAST_SPREAD_MS)
        url = f"{self._root}{path}{self._queries.get((topic, fragment), '')}"
        key = member_key(topic, fragment)
        return personal.id_line + encode_loader(key, url, random.randint(0, spread))
