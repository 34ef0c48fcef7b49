"""Start positions: where each topic of a stream starts, by what its client has already."""

from collections.abc import Collection, Mapping

from werkzeug.sansio.request import Request

from ..access import Admission
from ..broker import Start
from ..channels import AppChannels
from ..serving_loop import Pauses
from ..wire import EVERYONE, Position, channel_topic, user_topic
from .request import last_event_id

#: Topic of an audience -> the tokens whose pages belong to it, each with the bits of its topics in
#: the token's positions; None if every stream of such a token belongs to it.
Audiences = Mapping[str, Mapping[int, int | None]]


async def find_starts(
    channels: AppChannels,
    admission: Admission,
    request: Request,
    audiences: Audiences,
    tokens: int,
) -> dict[str, Start]:
    """Return where each topic of a stream starts.

    With one token, a topic starts at ``Last-Event-ID`` if that position covers it, and otherwise at
    the page's ``since``. With several tokens, each has its own ``since``, because a single id
    cannot be the position of every page. A ``since`` lists the positions of all tabs that share the
    token, separated by commas. A client that sends neither starts at the present.

    Args:
        channels: The app's channels, for the history that each topic keeps.
        admission: The granted topics, with their tokens and bits.
        request: The client's request.
        audiences: The audiences of the connection.
        tokens: Number of the stream's tokens; 0 if a view has decided.
    """
    # Parsed once instead of per topic: a URL has room for a thousand positions and many topics.
    sinces = [
        {Position.parse(text) for text in since.split(",")}
        for since in request.args.getlist("since")
    ]
    last = last_event_id(request)
    is_single = tokens <= 1
    resumed = Position.parse(last) if is_single else None
    has_last = is_single and bool(last)

    def start_of(topic: str, bits: Mapping[int, int | None]) -> Start:
        """Return the start of a topic, given its bit in the positions of each token."""
        given = [
            position if position and _covers(position, bit) else None
            for number, bit in bits.items()
            if number < len(sinces)
            for position in sinces[number]
        ]
        use_last = has_last and (resumed is None or _covers(resumed, bits.get(0)))
        return Start(
            resumed if use_last else oldest(given),
            admission.subscription.get(topic, frozenset()),
            channels.keep(topic),
            now=not has_last and not given and (is_single or not bits),
        )

    starts, pauses = {}, Pauses()
    for topic in admission.subscription:
        await pauses.due()
        bits = {number: admission.bits[number, topic] for number in admission.tokens_of[topic]}
        starts[topic] = start_of(topic, bits)
    return starts | {topic: start_of(topic, bits) for topic, bits in audiences.items()}


def find_audiences(admission: Admission, identity: str | None, tokens: int) -> Audiences:
    """Return the audiences of a connection, and the tokens whose pages belong to each.

    Every stream belongs to everyone and to the audiences of its channels. It belongs to that of
    its user if a page of it was made for the user, or if no page is known: a view has decided.

    Args:
        admission: The granted topics, with their tokens.
        identity: Identity of the client; None for a visitor.
        tokens: Number of the stream's tokens.
    """
    granting = {number for numbers in admission.tokens_of.values() for number in numbers}
    everyone = sorted(granting.union(admission.empty_tokens))
    audiences: dict[str, dict[int, int | None]] = {EVERYONE: dict.fromkeys(everyone)}
    for topic, numbers in admission.tokens_of.items():
        bits = audiences.setdefault(channel_topic(topic.partition("?")[0]), {})
        for number in numbers:
            bits[number] = (bits.get(number) or 0) | admission.bits[number, topic]
    own = admission.own_tokens if tokens else everyone
    if identity is not None and own:
        audiences[user_topic(identity)] = {
            number: admission.user_bits.get(number) for number in own
        }
    return audiences


def _covers(position: Position, bit: int | None) -> bool:
    """Whether the stream that gave out a position had the topic of a bit."""
    return position.granted is None or bit is None or bool(position.granted & bit)


def oldest(given: Collection[Position | None]) -> Position | None:
    """Return the oldest position of a topic's pages, from which every page can resume.

    A position has two ids, so the oldest one may be a combination of several.

    Args:
        given: Position of each page; None for a page without one that covers the topic.

    Returns:
        The position; None if a page lacks one, or if the epochs differ.
    """
    known = [position for position in given if position is not None]
    if not known or len(known) < len(given) or len({p.epoch for p in known}) > 1:
        return None
    events = min(position.events for position in known)
    fragments = min(position.fragments for position in known)
    return Position(known[0].epoch, events, fragments)
