"""The endpoints of streams: they judge a request, find its start and open the stream."""

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

from werkzeug.sansio.request import Request

from ..access import Admission, Gate, Judgement, Token, is_foreign
from ..broker import Broker, Start
from ..channels import Topic
from ..config import Config
from ..errors import BrokerUnavailable, ParameterError, without_password
from ..hub import NO_NAMES, Connections, Listed, Metadata, Page, counted_as, max_shared
from ..logs import LogLine
from ..registry import StreamHooks
from ..serving_loop import Pauses
from ..wire import Ending, Event, Refusal, encode_refused, member_key
from .chosen import chosen, is_chosen
from .initial import Initials, begun
from .jobs import Jobs
from .personal import make_loader, no_loader
from .renewal import Renewal
from .replacing import Replacing
from .request import Viewer, Viewers, last_event_id, wants_stream, was_stopped
from .response import StreamAnswer, Streams, no_stream
from .source import Source
from .starts import find_audiences, find_starts

OTHER_PROCESS = LogLine(
    "streams",
    "other-process",
    logging.WARNING,
    "Another process serves pages of this app, and %(url)s carries no messages between processes: "
    "viewers miss what the other process publishes. Set QUART_SSE_BROKER_URL to a Redis that all "
    "processes share, or run one process.",
    url=str,
)
STREAM_REFUSED = LogLine(
    "streams",
    "stream-refused",
    logging.DEBUG,
    "A request for a stream is refused (%(reason)s).",
    reason=str,
)
PARTLY_REFUSED = LogLine(
    "streams",
    "stream-partly-refused",
    logging.DEBUG,
    "The stream of connection %(connection)s goes on without %(topics)d topics, %(fragments)d "
    "fragments and %(tokens)d tokens, which are refused.",
    connection=str,
    tokens=int,
    topics=int,
    fragments=int,
)

#: Most topics of pages that are one object for all streams with equal ones; it stays when they end.
SHARED_TOPICS = 16


class StreamEndpoints:
    """Answers requests for streams, for one app.

    The host calls an endpoint in the context of the request, after the app's own hooks. A refused
    client that accepts an event stream gets a short stream with the ending, because any other
    answer makes htmx 2 lose its position and htmx 4 show the answer in the page.

    Args:
        gate: Decides which clients may listen to what.
        streams: Opens streams.
        connections: The open connections of this process, and their limits.
        viewers: Makes the viewer of a request.
        renewal: Renews the tokens of open streams.
        replacing: Finds the stream whose place a new one takes.
        initials: Makes the events that a new client is sent first.
        jobs: Knows whether a further sync source may run.
        broker: Has the process's position, and tells whether processes share it.
        config: The app's settings.
        refused_file: The further script file that marks what is refused, as pages name it.
    """

    def __init__(
        self,
        gate: Gate,
        streams: Streams,
        connections: Connections,
        viewers: Viewers,
        renewal: Renewal,
        replacing: Replacing,
        initials: Initials,
        jobs: Jobs,
        broker: Broker,
        config: Config,
        refused_file: str,
    ) -> None:
        self._refused_file = refused_file
        self._replacing = replacing
        self._initials = initials
        self._jobs = jobs
        self._gate = gate
        self._host = gate.host
        self._channels = gate.channels
        self._streams = streams
        self._connections = connections
        self._viewers = viewers
        self._renewal = renewal
        self._broker = broker
        self._config = config
        self._began = time.time()
        self._has_warned = False

    async def connect(self, request: Request) -> StreamAnswer:
        """Answer a request for a stream of the topics that its tokens list, or its client chose.

        Args:
            request: A GET or HEAD with one ``t=`` for each page that shares the stream, or with
                one ``topic=`` for each topic that the client has chosen.

        Raises:
            Refusal: If the client is refused and does not accept an event stream, or if its page is
                of another origin.
        """
        texts = request.args.getlist("t")
        too_much = len(texts) > self._config.max_tokens
        return await self._answer(request, texts, bare=False, too_much=too_much)

    async def channel(
        self, request: Request, topic: Topic, fragments: frozenset[str]
    ) -> StreamAnswer:
        """Answer a request for a stream of one topic, at the URL of its channel.

        The gate grants the topic if the channel is public, if ``authorize`` agrees, or if a token
        in the query names the topic. Event names go out without their topic.

        Args:
            request: A GET or HEAD with at most one ``t=``.
            topic: The topic, made from the URL.
            fragments: Names of the fragments that the client asks for.

        Raises:
            Refusal: As for :meth:`connect`.
        """
        texts = request.args.getlist("t")
        return await self._answer(
            request, texts, bare=True, too_much=len(texts) > 1, topic=topic, fragments=fragments
        )

    async def view(
        self,
        request: Request,
        topics: Iterable[Topic],
        initial: Iterable[Event],
        identity: str | None,
        metadata: Metadata | None,
        connection_id: str | None = None,
        hooks: StreamHooks | None = None,
        bare: bool | None = None,
    ) -> StreamAnswer:
        """Return the stream of a view of the app, for ``SSE.stream``.

        The view has decided already that the client may listen, so the gate is not asked.

        Args:
            request: The view's request.
            topics: The topics of the stream, with all their shared fragments.
            initial: Events that go out first; they are in no history.
            identity: The user's identity; None for a visitor.
            metadata: What the app knows of the client; None for nothing.
            connection_id: The connection's id; None for one that the stream makes.
            hooks: Functions that are called when the stream opens and ends; None for none.
            bare: Whether event names go out without their topic; None if they do so in a stream of
                one topic.

        Raises:
            ParameterError: If the connection's id is open already, unless the client resumes: it is
                held off then.
            Refusal: If the page is of another origin.
        """
        self._refuse_foreign(request, self._config.origins)
        viewer = self._viewers.of(request, identity)
        viewer.metadata = metadata
        shown = {topic.name: self._channels.known(topic.name).shared for topic in topics}
        refused = self._refused_view(request, viewer, shown, connection_id)
        if refused is not None:
            return refused
        if not self._streams.has_room(viewer.root):
            return self._hold_off(Ending.OVERLOADED)
        bits = {(0, name): 1 << place for place, name in enumerate(shown)}
        admission = Admission(shown, {name: [0] for name in shown}, bits=bits)
        audiences = find_audiences(admission, identity, 0)
        starts = await find_starts(self._channels, admission, request, audiences, 0)
        bare = len(shown) == 1 if bare is None else bare
        first = await self._initials.of_stream(request, shown, bare)
        body = self._streams.open_stream(
            viewer,
            shown,
            starts,
            loader=no_loader,
            bare=bare,
            first=first,
            retry=self._channels.settings(shown).retry,
        )
        body.connection.ahead([event.encode() for event in initial])
        body.connection.hooks = hooks
        if connection_id is not None:
            body.connection.lasting.id = connection_id
        return StreamAnswer() if request.method == "HEAD" else StreamAnswer(body)

    def own(
        self,
        request: Request,
        source: Source,
        initial: Iterable[Event],
        identity: str | None,
        metadata: Metadata | None,
        connection_id: str | None = None,
        hooks: StreamHooks | None = None,
    ) -> StreamAnswer:
        """Return the stream of a view of the app that a source feeds, for ``SSE.stream``.

        A client that says an id has had the stream before. Unless the source resumes, it is sent
        ``sse-stop``, so that no work is done twice.

        Args:
            request: The view's request.
            source: What feeds the stream.
            initial: Events that go out first.
            identity: The user's identity; None for a visitor.
            metadata: What the app knows of the client; None for nothing.
            connection_id: The connection's id; None for one that the stream makes.
            hooks: Functions that are called when the stream opens and ends; None for none.

        Raises:
            ParameterError: As for :meth:`view`.
            Refusal: If the page is of another origin.
        """
        self._refuse_foreign(request, self._config.origins)
        viewer = self._viewers.of(request, identity)
        viewer.metadata = metadata
        if not source.resumes and last_event_id(request) and not was_stopped(request):
            return StreamAnswer(Ending.CUT.encode())
        refused = self._refused_view(request, viewer, (), connection_id)
        if refused is not None:
            return refused
        if source.is_sync and self._jobs.is_full:
            self._streams.say_sync_full()
            return self._hold_off(Ending.OVERLOADED)
        body = self._streams.open_own(viewer, source)
        body.initial = [event.encode() for event in initial]
        body.connection.hooks = hooks
        if connection_id is not None:
            body.connection.lasting.id = connection_id
        return StreamAnswer() if request.method == "HEAD" else StreamAnswer(body)

    def _refused_view(
        self, request: Request, viewer: Viewer, topics: Iterable[str], connection_id: str | None
    ) -> StreamAnswer | None:
        """Return the answer to a view's client that is held off or was stopped; None for others.

        Raises:
            ParameterError: If the connection's id is open already, unless the client resumes.
        """
        if was_stopped(request):
            return no_stream()
        if connection_id is not None and self._connections.get(connection_id) is not None:
            if last_event_id(request):  # it comes back before the server has noticed its end
                return self._hold_off(Ending.OVERLOADED)
            raise ParameterError(
                f"A connection with the id {connection_id!r} is open already. Close it by "
                "sse.close(...), or choose another id."
            )
        if self._connections.is_closing:
            return self._hold_off(Ending.SHUTDOWN)
        if self._connections.is_full(topics, viewer.address):
            return self._hold_off(Ending.OVERLOADED)
        return None

    async def _answer(
        self,
        request: Request,
        texts: list[str],
        *,
        bare: bool,
        too_much: bool,
        topic: Topic | None = None,
        fragments: frozenset[str] = frozenset(),
    ) -> StreamAnswer:
        if was_stopped(request):
            return no_stream()
        known = None if topic is None else self._channels.known(topic.name)
        self._refuse_foreign(
            request, self._config.origins if known is None else known.origins(self._config)
        )
        pauses = Pauses()
        try:
            is_list = topic is None and is_chosen(request)
            if not texts and topic is None and not is_list:
                raise Refusal(Ending.NO_TOKEN)
            id = None if bare or is_list else self._replacing.id_in(request)
            self._check_request(request, too_much, id)
            identity = await self._gate.identify()
            tokens: list[Token | None] = (
                [chosen(request, self._channels)]
                if is_list
                else await self._tokens(texts, identity, topic, fragments)
            )
            listed = self._check_topics([token for token in tokens if token is not None])
            address = counted_as(request.remote_addr)
            if self._connections.is_full(address=address, id=id, listed=listed):
                raise Refusal(Ending.OVERLOADED)
            admission = await self._admitted(tokens, topic, fragments)
            viewer = self._viewers.of(request, identity)
            viewer.listed = listed
            viewer.metadata = await self._gate.metadata()
            first = await self._initials.of_pages(request, admission, bare)
            answer = await self._stream(request, admission, tokens, texts, viewer, bare, first)
            if request.method == "HEAD":
                # The status and headers of the GET (RFC 9110, 9.3.2), without a stream.
                answer = StreamAnswer()
            await pauses.due()  # the stream opens next
        except Refusal as refusal:
            STREAM_REFUSED.log(reason=refusal.ending.reason)
            self._connections.refuse(refusal.ending)
            if not wants_stream(request):
                raise
            answer = StreamAnswer(b"" if request.method == "HEAD" else refusal.encode())
        return answer

    def _hold_off(self, ending: Ending) -> StreamAnswer:
        self._connections.refuse(ending)
        return StreamAnswer(ending.encode())

    async def _admitted(
        self, tokens: list[Token | None], topic: Topic | None, fragments: frozenset[str]
    ) -> Admission:
        """Judge the tokens of a URL; the granted topics are not empty.

        Raises:
            Refusal: ``EXPIRED`` if no topic is granted and a signature has expired, ``REFUSED`` if
                no topic is granted for other reasons, ``ERROR`` if an ``authorize`` failed.
        """
        judgement = Judgement(self._gate, tokens, topic)
        admission = await judgement.admit()
        if topic is not None:
            admission.narrow(topic.name, fragments)
        await judgement.refuse_outer(admission)
        if admission.is_empty:
            raise Refusal(Ending.EXPIRED if admission.expired_tokens else Ending.REFUSED)
        return admission

    def _check_request(self, request: Request, too_much: bool, id: str | None) -> None:
        """Refuse a request for reasons that cost nothing to check, before any token is verified.

        Raises:
            Refusal: ``SHUTDOWN``, ``TOO_LONG`` or ``OVERLOADED``.
        """
        if self._connections.is_closing:
            raise Refusal(Ending.SHUTDOWN)
        if too_much or len(request.query_string) > self._config.max_query:
            raise Refusal(Ending.TOO_LONG)
        if self._connections.is_full(address=counted_as(request.remote_addr), id=id):
            raise Refusal(Ending.OVERLOADED)

    def _check_topics(self, tokens: list[Token]) -> Listed:
        """Refuse lists that are too long, before the app is asked about any topic of them.

        Returns:
            The number of topics, and of those that no page of the app has written.

        Raises:
            Refusal: ``TOO_LONG``.
        """
        config = self._config
        listed = {topic for token in tokens for topic in token.topics}
        open_ = [token.topics for token in tokens if not token.is_vouched]
        if self._gate.can_sign:
            unsigned = len({topic for topics in open_ for topic in topics})
        else:
            unsigned = max(map(len, open_), default=0)
        if unsigned > config.max_unsigned_topics:
            most = config.max_unsigned_topics
            raise Refusal(Ending.TOO_LONG, f"List at most {most} topics of your choice.")
        is_long = any(len(token.topics) > config.max_topics for token in tokens)
        if is_long or len(listed) > max_shared(config):
            raise Refusal(Ending.TOO_LONG)
        return Listed.of(len(listed), unsigned if self._gate.can_sign else 0)

    def _refuse_foreign(self, request: Request, allowed: tuple[str, ...]) -> None:
        """Refuse pages of other origins by a status: the middleware replaces no such answer.

        Args:
            request: The client's request.
            allowed: Other origins whose pages may open the URL.

        Raises:
            Refusal: ``REFUSED``.
        """
        if is_foreign(request, self._host.sites(), allowed):
            self._host.exchange().is_foreign = True
            self._connections.refuse(Ending.REFUSED)
            raise Refusal(Ending.REFUSED)

    async def _tokens(
        self,
        texts: list[str],
        identity: str | None,
        topic: Topic | None,
        fragments: frozenset[str],
    ) -> list[Token | None]:
        """Return the verified tokens of a URL, reduced to the topic whose own URL it is.

        Raises:
            Refusal: ``BROKER_AWAY``.
        """
        pauses, tokens = Pauses(), list[Token | None]()
        try:
            for text in texts:
                tokens.append(await self._gate.verify(text, identity))
                await pauses.due()
        except BrokerUnavailable:
            raise Refusal(Ending.BROKER_AWAY) from None
        if topic is None:
            return tokens
        return [_narrow(tokens[0] if tokens else None, topic.name, fragments)]

    async def _stream(
        self,
        request: Request,
        admission: Admission,
        tokens: list[Token | None],
        texts: list[str],
        viewer: Viewer,
        bare: bool,
        first: Iterable[bytes],
    ) -> StreamAnswer:
        is_list = not texts and not bare
        # A client's own list is of no page of the user's, so it counts as an unsigned token.
        number = len(tokens) if is_list else len(texts)
        if "replaces" not in request.args or bare:
            # Only our script can put items into lists.
            admission.subscription = without_items(admission.subscription)
        audiences = find_audiences(admission, viewer.identity, number)
        starts = await find_starts(self._channels, admission, request, audiences, number)
        replaced = None if bare or is_list else self._replacing.find(request, viewer)
        id = None if replaced is None else replaced.id
        is_full = self._connections.is_full(admission.subscription, viewer.address, id)
        if is_full or not self._streams.has_room(viewer.root):
            raise Refusal(Ending.OVERLOADED)
        cookie = self._viewers.name_browser(viewer, request)
        self._notice_others(tokens, starts)
        body = self._streams.open_stream(
            viewer,
            admission.subscription,
            starts,
            loader=make_loader(self._channels, viewer.root, admission, tokens, texts),
            bare=bare,
            first=first,
            # Of the channel at its own URL; the shared URL has that of the app.
            retry=self._channels.settings(admission.subscription).retry if bare else None,
        )
        connection = body.connection
        if replaced is not None:
            connection.lasting = replaced.lasting
            for number in begun(request):  # pages that were just loaded are as the gate says
                connection.lasting.removed -= {*admission.granted_to(number)}
        elif cookie is not None and request.args.get("replaces") == "":
            # Who is present without a cookie counts by address, and the first stream has none. Our
            # script comes again once: with what it replaces then, whether it keeps cookies or not.
            connection.comes_again = any(map(self._channels.announces, admission.subscription))
        connection.may_see = admission.may_see
        connection.inside = NO_NAMES if admission.may_see is None else admission.may_see.allowed
        connection.pages = _pages(tokens, admission, viewer.identity)
        connection.refused_file = self._refused_file
        connection.expired = tuple(sorted(set(admission.expired_tokens)))
        connection.ends_at = self._renewal.end_of_signatures(admission, tokens)
        if not bare:
            self._renewal.renew_in_time(connection, admission, tokens, viewer.root)
        if admission.refused_topics or admission.refused_tokens or admission.refused_fragments:
            refused = encode_refused(
                tokens=admission.refused_tokens,
                topics=admission.refused_topics,
                fragments=admission.refused_fragments,
            )
            connection.ahead([refused])
            PARTLY_REFUSED.log(
                connection=connection.id,
                tokens=len(admission.refused_tokens),
                topics=len(admission.refused_topics),
                fragments=len(admission.refused_fragments),
            )
        answer = StreamAnswer(body)
        if cookie is not None:
            answer.headers["Set-Cookie"] = cookie
        return answer

    def _notice_others(self, tokens: list[Token | None], starts: Mapping[str, Start]) -> None:
        """Warn once if several processes serve the app without a shared broker.

        A page was rendered by another process if its token is younger than this process, and the
        epoch of its position is not the one of this process's broker.
        """
        known = self._broker.known
        if self._has_warned or self._broker.is_shared or known is None:
            return
        is_young = any(token and token.page and token.issued > self._began + 1 for token in tokens)
        epochs = {start.position.epoch for start in starts.values() if start.position is not None}
        if is_young and epochs - {known.epoch}:
            self._has_warned = True
            OTHER_PROCESS.log(url=without_password(self._config.broker_url))


def without_items(subscription: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Return topics with their fragments, for a client that takes lists whole."""
    return {
        topic: frozenset(name for name in names if not name.endswith("/"))
        if any(name.endswith("/") for name in names)
        else names
        for topic, names in subscription.items()
    }


def _narrow(token: Token | None, topic: str, fragments: frozenset[str]) -> Token:
    """Return the token reduced to one topic, or an unsigned one if it does not name the topic."""
    if token is not None and topic in token.topics:
        return token._replace(topics={topic: token.topics[topic]})
    return Token({topic: fragments}, "", 0.0, is_signed=False, is_expired=False)


@lru_cache(256)
def _shared(pages: tuple[Page, ...]) -> tuple[Page, ...]:
    """Return one object for equal pages: most streams at the URL of a channel have the same."""
    return pages


def _pages(
    tokens: list[Token | None], admission: Admission, identity: str | None
) -> tuple[Page, ...]:
    """Return what the page of each token is sent."""
    pages = tuple(_page(each, admission, number, identity) for number, each in enumerate(tokens))
    return _shared(pages) if sum(len(page.listed) for page in pages) <= SHARED_TOPICS else pages


def _page(token: Token | None, admission: Admission, number: int, identity: str | None) -> Page:
    """Return what the page of a token is sent.

    Args:
        token: The token; None if it did not verify.
        admission: What was granted.
        number: The token's number.
        identity: Identity of the client; None for a visitor.
    """
    listed = () if token is None else tuple(token.topics)
    granted = tuple(name for name in listed if number in admission.tokens_of.get(name, ()))
    is_open = bool(granted) or number in admission.empty_tokens
    is_same = is_open and number in admission.tokens_for(identity)
    is_bound = token is not None and token.is_bound
    refused = admission.refused_fragments
    return Page(
        granted if len(granted) == len(listed) else listed,
        granted,
        is_open,
        is_same,
        is_same and identity is not None,
        is_bound,
        tuple(key for key in refused if token is not None and _lists(token, key, granted)),
    )


def _lists(token: Token, key: str, topics: Collection[str]) -> bool:
    """Whether a token lists a fragment of one of some topics."""
    return any(key == member_key(topic, name) for topic in topics for name in token.topics[topic])
