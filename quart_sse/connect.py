"""How a request becomes a stream: what it asks for, what it may have, where it starts."""

import logging
import secrets
from collections.abc import Iterable, Mapping

from quart import Request, Response, abort, request

from .access import Admission, Gate, identify, verify
from .addresses import root_of
from .broker import Start
from .channel import Topic
from .ending import Ending, Refusal
from .errors import BrokerUnavailable
from .event import Event
from .origins import is_foreign
from .page_request import current_browser, current_page
from .personal import make_loader, no_loader
from .renewal import end_of_signatures, renew_in_time
from .signer import Token
from .starts import find_starts
from .state import State, current_state
from .stream import (
    EventStream,
    Viewer,
    has_room,
    is_full,
    no_stream,
    open_stream,
    was_stopped,
)

logger = logging.getLogger("quart_sse")


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
    except Refusal as refusal:
        if wants_stream(request):
            is_head = request.method == "HEAD"
            return EventStream(b"" if is_head else refusal.ending.encode())
        abort(refusal.ending.status)


async def _admitted(
    state: State, tokens: list[Token | None], topic: str | None, fragments: frozenset[str]
) -> Admission:
    """Judge what a URL asks for.

    Raises:
        Refusal: If nothing is granted, or an ``authorize`` function failed.
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
    _refuse_foreign(state)
    if state.is_closing:
        raise Refusal(Ending.SHUTDOWN)
    if too_much or len(request.query_string) > state.config.max_query:
        raise Refusal(Ending.TOO_LONG)
    if is_full(state):
        raise Refusal(Ending.OVERLOADED)


def _refuse_foreign(state: State) -> None:
    """Answer pages of other origins by a plain 403, which is not made a stream of."""
    if is_foreign(request, state.app, state.config):
        current_page().is_foreign = True
        abort(403)


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
    viewer = _viewer(state, identity)
    if is_full(state, admission.subscription, viewer.address) or not has_room(state, viewer.root):
        raise Refusal(Ending.OVERLOADED)
    cookie = _new_browser(state, viewer)
    starts, granted = find_starts(state, admission, request)
    _notice_others(state, tokens, starts)
    response = open_stream(
        state,
        viewer,
        admission.subscription,
        starts,
        granted=granted,
        loader=make_loader(state, viewer.root, admission, tokens, texts),
        bare=bare,
    )
    connection = response.connection
    connection.may_see = admission.may_see
    connection.inside = frozenset() if admission.may_see is None else admission.may_see.allowed
    connection.introduction["topics"] = [
        admission.granted_to(number) for number in range(len(tokens))
    ]
    if admission.expired_tokens:
        connection.introduction["expired"] = sorted(set(admission.expired_tokens))
    connection.ends_at = end_of_signatures(state, admission, tokens)
    if not bare:
        renew_in_time(state, connection, admission, tokens, viewer.root)
    if admission.refused_topics or admission.refused_tokens or admission.refused_fragments:
        connection.ahead([_refused(admission)])
    if cookie is not None:
        response.set_cookie(
            state.config.browser_cookie,
            cookie,
            path=viewer.root or "/",
            httponly=True,
            samesite="Lax",
            secure=request.is_secure,
        )
    return response


def _viewer(state: State, identity: str | None) -> Viewer:
    """Return who makes the current request, for a stream."""
    page = current_page()
    browser = current_browser(state)
    return Viewer(
        identity=identity,
        browser=browser,
        # A browser that is not known yet may be any number of them, so its address counts too.
        address=request.remote_addr if browser is None else None,
        root=root_of(state.config),
        is_multiplexed=request.http_version[:1] not in {"0", "1"},
        is_browser_new=browser is None,
        judged_at=page.began,
        kick=page.kick,
    )


def _new_browser(state: State, viewer: Viewer) -> str | None:
    """Give a browser that is not known yet an id; returns the value of the cookie that keeps it."""
    config, signer = state.config, state.signer
    if viewer.browser is not None or not config.browser_cookie or not signer.has_key:
        return None
    viewer.browser = secrets.token_urlsafe(12)
    return signer.sign_browser(viewer.browser)


def open_own_stream(
    topics: Iterable[Topic],
    initial: Iterable[Event],
    metadata: Mapping[str, object] | None,
    identity: str | None,
) -> Response:
    """Return the stream of one of the app's own views; see ``SSE.stream``."""
    state = current_state()
    _refuse_foreign(state)
    if was_stopped(request):
        return no_stream()
    viewer = _viewer(state, identity)
    if state.is_closing:
        return EventStream(Ending.SHUTDOWN.encode())
    if not has_room(state, viewer.root):
        return EventStream(Ending.OVERLOADED.encode())
    shown = {topic.name: topic.channel.shared for topic in topics}
    bits = {(0, name): 1 << place for place, name in enumerate(shown)}
    admission = Admission(shown, {name: [0] for name in shown}, bits=bits)
    starts, _ = find_starts(state, admission, request)
    response = open_stream(
        state, viewer, shown, starts, loader=no_loader, bare=len(shown) == 1, metadata=metadata
    )
    response.connection.ahead([event.encode() for event in initial])
    return EventStream() if request.method == "HEAD" else response


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
