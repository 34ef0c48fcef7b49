"""The extension's endpoints: ``sse.connect``, ``sse.static``, and each channel's own two."""

from typing import Any

from quart import Blueprint, Response, abort, request
from quart.helpers import send_from_directory
from werkzeug.exceptions import HTTPException

from .access import Gate, Grant, identify, verify
from .addresses import root_of
from .assets import ASSETS
from .channel import Channel, Topic
from .connect import answer_channel, answer_connect
from .ending import Ending, Refusal
from .errors import BrokerUnavailable, ParameterError
from .fragment import renderer_of
from .markup import STATIC
from .naming import declared_name
from .origins import is_foreign
from .page_request import current_page
from .render import call_renderer
from .state import current_state

#: Seconds that a file may be kept whose URL holds a hash of its content.
LONG = 31_536_000


def extension_blueprint() -> Blueprint:
    """Return the blueprint of what belongs to no channel, and of the templates."""
    blueprint = Blueprint("sse", __name__, template_folder=str(ASSETS / "templates"))
    blueprint.add_url_rule("", "connect", answer_connect, methods=["GET"])
    blueprint.add_url_rule("/~static/<path:filename>", "static", _static, methods=["GET"])
    return blueprint


def channel_blueprint(channel: Channel) -> Blueprint:
    """Return the blueprint of a channel: its stream at its rule, its fragments beside it."""
    blueprint = Blueprint(channel.name, __name__)

    async def stream(**params: Any) -> Response:
        topic = _topic(channel, params).name
        shown = request.args.get("fragments")
        names = channel.fragments if shown is None else shown.split(",")
        return await answer_channel(topic, frozenset(names) & channel.fragments.keys())

    async def fragment(fragment: str, **params: Any) -> Response:
        if fragment not in channel.fragments:
            abort(404)
        return await _fragment(_topic(channel, params), fragment)

    blueprint.add_url_rule(channel.rule, "stream", stream, methods=["GET"])
    blueprint.add_url_rule(f"/~/<fragment>{channel.rule}", "fragment", fragment, methods=["GET"])
    return blueprint


def _topic(channel: Channel, params: dict[str, Any]) -> Topic:
    """Return the topic that a URL picks; 404 for values that no topic can have, as ``inf``."""
    try:
        return channel.topic(**params)
    except ParameterError:
        abort(404)


async def _static(filename: str) -> Response:
    if filename not in STATIC:
        abort(404)
    response = await send_from_directory(ASSETS / "static", filename)
    if request.args.get("v") == STATIC[filename][:12]:
        response.cache_control.max_age = LONG
        response.cache_control.public = True
        response.cache_control.immutable = True
        response.cache_control.no_cache = None
        response.expires = None
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _nothing(status: int) -> Response:
    # htmx 4 swaps error pages in; what is shown shall stay.
    return Response("", status, headers={"HX-Reswap": "none", "Cache-Control": "private, no-store"})


async def _fragment(topic: Topic, name: str) -> Response:
    """Answer with a fragment's HTML, behind the same gate as the stream."""
    state = current_state()
    if is_foreign(request, state.app, state.config):
        return _nothing(403)
    try:
        html = await _html(topic, name)
    except Refusal as refusal:
        return _nothing(refusal.ending.status)
    except BrokerUnavailable:
        return _nothing(503)
    except HTTPException:
        raise  # a personal fragment's own answer, such as abort(404)
    except Exception as error:
        state.errors.log(
            renderer_of(topic.name, name),
            error,
            "Fragment %r could not be rendered for %s; the client keeps what it shows.",
            declared_name(topic.name, name),
            request.path,
        )
        return _nothing(500)
    # What is inside was connected by the page that this HTML goes into.
    current_page().shown.forget()
    return Response(html, headers={"Cache-Control": "private, no-store"})


async def _html(topic: Topic, name: str) -> str:
    """Return a fragment's HTML for the client.

    Raises:
        Refusal: If the client may not see it, or a function of the app that decides has failed.
    """
    state, declared = current_state(), topic.channel.find(name)
    text = request.args.get("t")
    token = await verify(state, text, await identify(state)) if text else None
    gate = Gate(state, [token])
    signed = frozenset() if token is None else token.topics.get(topic.name, frozenset())
    grant = await gate.judge(topic.name, token if name in signed else None)
    if grant is Grant.NO:
        raise Refusal(Ending.REFUSED)
    if declared.spec.personal:
        return await call_renderer(state, topic.name, name, declared.renderer, topic.params)
    rendered = await state.hub.render(
        topic.name, declared.spec, root=root_of(state.config), is_urgent=False
    )
    if not await gate.may_contain(topic.name, declared.spec, rendered.nested):
        raise Refusal(Ending.REFUSED)
    return rendered.html
