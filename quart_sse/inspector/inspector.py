"""The inspector of an app: its pages, their live part, and the actions."""

from collections.abc import Callable
from functools import partial
from typing import Any

from quart import Quart, Response, abort, current_app, render_template, request, url_for

from ..channels import Channel
from ..errors import BrokerUnavailable, SSEError
from ..pages import STATIC
from ..wire import LEVELS
from ..wiring import Services
from .actions import act
from .charts import ago, ms, short, size
from .guard import Guard
from .question import ASKS, PEOPLE, Asked, read, written
from .samples import EVERY
from .views import VIEWS, Look

#: URL rule of the channel of the pages.
RULE = "/sse-inspector/<view>/<asked>"
#: Lifetime of a stream of the pages, in seconds, after which ``authorize`` is asked again.
MAX_AGE = 60.0
#: Pages in the order of the navigation.
NAVIGATION = ("overview", "connections", "topics", "renders", "messages", "configuration")
#: What a page says after an action.
DONE = {
    "disconnect": "The connection was closed.",
    "send": "The event was sent.",
    "notify": "The notification was sent.",
    "gone": "The connection was not open any more, so nothing was done.",
}
#: Key of the parts of an app's inspector, in ``app.extensions``.
_KEY = "quart_sse.inspector"
#: Functions of the templates.
_WORDS = {"short": short, "ms": ms, "ago": ago, "size": size}


class Inspector:
    """The inspector of all apps of one extension.

    A page is a frame that stands still, with the forms, around one fragment that the server renders
    every two seconds while it is open. What the page asks for is a parameter of the fragment's
    topic, so that two who look at the same share the renders, and nothing runs for others.

    Args:
        channel: The channel of the pages.
        authorize: The app's function, which judges each request; None allows nothing.
        payloads: Whether data of events, and what errors say, are shown.
    """

    def __init__(
        self, channel: Channel, authorize: Callable[..., Any] | None, payloads: bool
    ) -> None:
        self._authorize = authorize
        self._payloads = payloads
        channel.validate(_is_asked)
        channel.authorize(_may_look)
        channel.fragment("body", every=EVERY)(_body)
        channel.fragment("people", presence=True)(partial(_people, channel))

    def install(self, app: Quart, services: Services) -> None:
        """Register the pages in an app, below ``QUART_SSE_URL_PREFIX``."""
        look, guard = Look(services, self._payloads), Guard(services, self._authorize)
        app.extensions[_KEY] = look, guard
        prefix = f"{services.config.url_prefix}/~inspector"
        add = app.add_url_rule
        add(prefix, "sse.inspector", _page, methods=["GET"])
        add(f"{prefix}/<view>", "sse.inspector", _page, methods=["GET"])
        add(f"{prefix}/~act", "sse.inspector-act", _act, methods=["POST"])


def _parts() -> tuple[Look, Guard]:
    look, guard = current_app.extensions[_KEY]
    return look, guard


# -- the channel -----------------------------------------------------------------------------------


def _is_asked(view: str, asked: str) -> bool:
    return read(view, asked) is not None


async def _may_look(view: str, asked: str) -> bool:
    _, guard = _parts()
    return await guard.decide()


async def _body(view: str, asked: str) -> str:
    """Render the live part of a page."""
    look, _ = _parts()
    question = read(view, asked)
    if question is None or view not in VIEWS:
        return ""
    try:
        found = await VIEWS[view](look, question)
    except BrokerUnavailable as error:
        return await render_template("quart_sse/inspector/away.html", error=error)
    return await render_template(
        f"quart_sse/inspector/{view}.html",
        asked=question,
        payloads=look.payloads,
        state=look.services.broker.state.value,
        **_WORDS,
        **found,
    )


async def _people(channel: Channel, view: str, asked: str) -> str:
    """Render who looks at the inspector."""
    here = await channel.topic(view=view, asked=asked).presence()
    return await render_template("quart_sse/inspector/people.html", here=here)


# -- pages and actions -----------------------------------------------------------------------------


async def _page(view: str = NAVIGATION[0], **_: Any) -> Response:
    guard = _parts()[1]
    await guard.admit()
    if view not in ASKS:
        abort(404)
    return await _shown(view, dict(request.args.items()))


async def _act(**_: Any) -> Response:
    look, guard = _parts()
    await guard.admit()
    form = (await request.form).to_dict()
    await guard.check_form(form.get("csrf", ""))
    id = form.get("id", "")
    try:
        is_done = await act(look.services.sending, await guard.who(), form)
    except SSEError as error:
        status = 503 if isinstance(error, BrokerUnavailable) else 422
        return await _shown("connection", {"id": id}, status=status, problem=str(error), form=form)
    done = form.get("action", "") if is_done else "gone"
    url = url_for("sse.inspector", view="connection", id=id, done=done)
    return guard.dress(Response("", 303, {"Location": url}))


def _file(suffix: str) -> str:
    """Return the URL of a static file of the pages, with its version."""
    name = f"quart-sse-inspector.{suffix}"
    return url_for("sse.static", filename=name, v=STATIC[name][:12])


async def _shown(
    view: str,
    given: dict[str, str],
    *,
    status: int = 200,
    problem: str = "",
    form: dict[str, str] | None = None,
) -> Response:
    """Return a page."""
    look, guard = _parts()
    token, cookie = await guard.token()
    asked = written(view, given)
    html = await render_template(
        "quart_sse/inspector/page.html",
        view=view,
        asked=asked,
        question=read(view, asked) or Asked(),
        people=PEOPLE,
        navigation=NAVIGATION,
        channels=sorted(look.services.channels.declared),
        levels=LEVELS,
        csrf=token,
        done=DONE.get(given.get("done", ""), ""),
        problem=problem,
        form=Asked(form or {}),
        file=_file,
        app_name=current_app.name,
    )
    return guard.dress(Response(html, status, mimetype="text/html"), cookie)
