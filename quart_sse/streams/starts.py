"""Start positions: where each topic of a stream starts, by what its client has already."""

from werkzeug.sansio.request import Request

from ..access import Admission
from ..broker import Start
from ..channels import AppChannels
from ..wire import Position
from .request import last_event_id


def find_starts(
    channels: AppChannels, admission: Admission, request: Request
) -> tuple[dict[str, Start], int | None]:
    """Return where each topic of a stream starts.

    With one token, a topic starts at ``Last-Event-ID`` if that position covers it, and otherwise at
    the page's ``since``. With several tokens, each has its own ``since``, because a single id
    cannot be the position of every page. A ``since`` lists the positions of all tabs that share the
    token, separated by commas. A client that sends neither starts at the present.

    Args:
        channels: The app's channels, for the history that each topic keeps.
        admission: The granted topics, with their tokens and bits.
        request: The client's request.

    Returns:
        Topic -> start; and the bits of the granted topics, which the stream's positions carry, or
        None if no topic was refused or the stream has several tokens.
    """
    # Parsed once instead of per topic: a URL has room for a thousand positions and many topics.
    sinces = [
        {Position.parse(text) for text in since.split(",")}
        for since in request.args.getlist("since")
    ]
    last = last_event_id(request)
    is_single = len(request.args.getlist("t")) <= 1
    resumed = Position.parse(last) if is_single else None
    has_last = is_single and bool(last)

    starts = {}
    for topic in admission.subscription:
        given = [
            position if position and _covers(position, admission.bits[number, topic]) else None
            for number in admission.tokens_of[topic]
            if number < len(sinces)
            for position in sinces[number]
        ]
        use_last = has_last and (resumed is None or _covers(resumed, admission.bits[0, topic]))
        starts[topic] = Start(
            resumed if use_last else _oldest(given),
            admission.subscription[topic],
            channels.keep(topic),
            now=not has_last and not given and is_single,
        )
    some_refused = bool(admission.refused_topics) and is_single
    return starts, sum(set(admission.bits.values())) if some_refused else None


def _covers(position: Position, bit: int) -> bool:
    """Whether the stream that gave out a position had the topic of a bit."""
    return position.granted is None or bool(position.granted & bit)


def _oldest(given: list[Position | None]) -> Position | None:
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
