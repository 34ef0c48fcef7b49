"""Where a stream starts: what its client has already, topic by topic."""

from werkzeug.sansio.request import Request

from .access import Admission
from .app_channels import AppChannels
from .broker import Start
from .position import Position


def find_starts(
    channels: AppChannels, admission: Admission, request: Request
) -> tuple[dict[str, Start], int | None]:
    """Return where each topic starts, and the position's note of what was granted.

    One token: ``Last-Event-ID`` where it covers the topic, else the page's ``since``. Several:
    each its own ``since``, for one id cannot say where each of them stood. A ``since`` lists the
    positions of all tabs that share a token. Only a client that sends neither starts at now.
    """
    # Read once, not for each topic: a URL has room for a thousand positions, and for many topics.
    sinces = [
        {Position.parse(text) for text in since.split(",")}
        for since in request.args.getlist("since")
    ]
    last = request.headers.get("Last-Event-ID")
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
    """Whether a position was given to a stream which had the topic of a bit."""
    return position.granted is None or bool(position.granted & bit)


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
