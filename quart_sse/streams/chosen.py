"""Chosen topics: the lists that clients write themselves, as ``topic=`` in the URL."""

from werkzeug.sansio.request import Request

from ..access import Token
from ..channels import AppChannels
from ..wire import Ending, Refusal, parse_topic, topic_name


def is_chosen(request: Request) -> bool:
    """Whether a request for the shared URL lists topics that its client has chosen."""
    return "topic" in request.args


def chosen(request: Request, channels: AppChannels) -> Token:
    """Return the list of a client as an unsigned token, which grants nothing.

    A name counts in whatever way its parameters are ordered and encoded, and once. A name that no
    topic can have is listed, too: the gate refuses it as it refuses a topic that is forbidden, and
    the others go on.

    Args:
        request: The request, which has a ``topic=``.
        channels: The app's channels, for the fragments of each topic.

    Raises:
        Refusal: ``MALFORMED`` if the URL has a ``t=``, several ``since=`` or a ``fragments=``
            other than 0 and 1; ``NO_TOKEN`` if every name is empty.
    """
    args = request.args
    if "t" in args:
        raise Refusal(
            Ending.MALFORMED,
            "It has t= and topic=. Send t= for what a page shows, or topic= for topics of your "
            "choice, on streams of their own.",
        )
    if len(args.getlist("since")) > 1:
        raise Refusal(Ending.MALFORMED, "It has several since=. Send one, for all topics.")
    if args.get("fragments", "0") not in ("0", "1"):
        raise Refusal(
            Ending.MALFORMED,
            "fragments= is neither 1, for all fragments of the topics, nor 0, for none.",
        )
    names = dict.fromkeys(topic_name(*parse_topic(text)) for text in args.getlist("topic"))
    if not any(names):
        raise Refusal(Ending.NO_TOKEN, "topic= is empty. Name a topic, such as topic=news.")
    has_fragments = args.get("fragments") == "1"
    topics = {name: _fragments(name, channels) if has_fragments else frozenset() for name in names}
    return Token(topics, "", 0.0, is_signed=False, is_expired=False)


def _fragments(topic: str, channels: AppChannels) -> frozenset[str]:
    channel = channels.of(topic)
    return frozenset() if channel is None else frozenset(channel.fragments)
