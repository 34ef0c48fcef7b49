"""The macros: what they put into a page, however its templates are put together."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from bs4 import Tag
from quart import (
    Quart,
    Response,
    g,
    make_response,
    render_template,
    render_template_string,
    request,
    stream_template,
)
from quart.testing import QuartClient

from quart_sse import (
    SSE,
    EventError,
    FragmentError,
    MacroError,
    ParameterError,
    SSEError,
    UnknownChannelError,
    UnknownFragmentError,
)
from quart_sse.access.tokens import read_topics
from tests.support.pages import (
    LIST,
    LIST_AND_CONNECT,
    MACROS,
    SIGNED,
    add_page,
    connect_elements,
    get_page,
    make_app,
    parse,
    render,
    url_of,
)
from tests.support.streams import Stream, open_stream


def topics_of(element: Tag) -> dict[str, frozenset[str]]:
    """Return the topics in the URL of a page whose channels are all public."""
    (token,) = parse_qs(urlsplit(url_of(element)).query)["t"]
    listed, _, signature = token.partition(" ~")
    assert (listed[0], len(signature)) == ("~", 24)
    return read_topics(listed[1:])


@asynccontextmanager
async def connected(app: Quart, element: Tag) -> AsyncIterator[Stream]:
    """Open the stream of a connect element."""
    async with open_stream(app, url_of(element)) as stream:
        assert (await stream.next()).event == "sse-open"
        yield stream


# -- how templates are put together --------------------------------------------------------------

TEMPLATES: dict[str, dict[str, str]] = {
    "one template": {"page.html": MACROS + LIST_AND_CONNECT},
    "import as": {
        "page.html": '{% import "quart_sse/macros.html" as live %}'
        '{{ live.sse_fragment("board.list") }}{{ live.sse_connect() }}'
    },
    "with context": {"page.html": MACROS.replace(" %}", " with context %}") + LIST_AND_CONNECT},
    "without context": {
        "page.html": MACROS.replace(" %}", " without context %}") + LIST_AND_CONNECT
    },
    "extends, fragment in a block": {
        "base.html": MACROS + "{% block body %}{% endblock %}{{ sse_connect() }}",
        "page.html": '{% extends "base.html" %}{% block body %}' + MACROS + LIST + "{% endblock %}",
    },
    "extends, imported outside the block": {
        "base.html": MACROS + "{% block body %}{% endblock %}{{ sse_connect() }}",
        "page.html": '{% extends "base.html" %}' + MACROS + "{% block body %}" + LIST
        # The macros of the outside are seen inside.
        + "{% endblock %}",
    },
    "extends twice": {
        "base.html": MACROS + "{% block body %}{% endblock %}{{ sse_connect() }}",
        "middle.html": '{% extends "base.html" %}{% block body %}'
        "<main>{% block main %}{% endblock %}</main>{% endblock %}",
        "page.html": '{% extends "middle.html" %}{% block main %}'
        + MACROS + LIST + "{% endblock %}",
    },
    "include": {
        "_list.html": MACROS + LIST,
        "page.html": '{% include "_list.html" %}' + MACROS + "{{ sse_connect() }}",
    },
    "connect in an include": {
        "_foot.html": MACROS + "{{ sse_connect() }}",
        "page.html": MACROS + LIST + '{% include "_foot.html" %}',
    },
    "macro of the app's own": {
        "_macros.html": MACROS + "{% macro part() %}" + LIST + "{% endmacro %}",
        "page.html": '{% from "_macros.html" import part %}{{ part() }}'
        + MACROS + "{{ sse_connect() }}",
    },
    "call block": {
        "page.html": MACROS + "{% macro box() %}<p>{{ caller() }}</p>{% endmacro %}"
        "{% call box() %}" + LIST + "{% endcall %}{{ sse_connect() }}",
    },
    "set block": {
        "page.html": MACROS + "{% set html %}" + LIST + "{% endset %}{{ html }}{{ sse_connect() }}",
    },
}  # fmt: skip


@pytest.mark.parametrize("how", ["rendered", "streamed", "outside a request"])
@pytest.mark.parametrize("name", TEMPLATES)
async def test_page_connects_what_it_shows(tmp_path: Path, name: str, how: str) -> None:
    """Fragment and connection find each other in every composition of templates."""
    for file, text in TEMPLATES[name].items():
        (tmp_path / file).write_text(text)
    app = make_app(tmp_path)

    @app.get("/rendered")
    async def rendered() -> str:
        return await render_template("page.html")

    @app.get("/streamed")
    async def streamed() -> AsyncIterator[str]:
        return await stream_template("page.html")

    if how == "outside a request":
        async with app.app_context():
            soup = parse(await render_template("page.html"))
    else:
        soup = await get_page(app, f"/{how}")

    (shown,) = soup.select("[data-sse]")
    (element,) = connect_elements(soup)
    assert shown["data-sse"] == "board.list"
    assert shown.decode_contents() == "<li>list</li>"
    assert topics_of(element) == {"board": {"list"}}
    async with connected(app, element) as stream:
        await app.extensions["quart_sse"].channels.declared["board"].topic().refresh("list")
        assert "<li>list</li>" in (await stream.next("message")).data


async def test_fragments_in_loops_share_one_connection(tmp_path: Path) -> None:
    """Every fragment above is on the one connection, a repeated one once."""
    app = make_app()
    body = (
        '{% for seat in range(3) %}{{ sse_fragment("rooms.list", room="hall", seat=seat) }}'
        "{% endfor %}" + LIST + LIST + '{{ sse_fragment("board.count") }}{{ sse_connect() }}'
    )

    soup = await render(app, body)

    (element,) = connect_elements(soup)
    assert len(soup.select("[data-sse]")) == 6
    assert topics_of(element) == {
        "board": {"count", "list"},
        "rooms?room=hall&seat=0": {"list"},
        "rooms?room=hall&seat=1": {"list"},
        "rooms?room=hall&seat=2": {"list"},
    }


async def test_each_connection_has_what_stands_between_it_and_the_one_before() -> None:
    """A page may have several connections; a fragment belongs to the next one."""
    app = make_app()

    soup = await render(
        app, LIST_AND_CONNECT + '{{ sse_fragment("board.count") }}{{ sse_connect() }}'
    )

    assert [topics_of(element) for element in connect_elements(soup)] == [
        {"board": {"list"}},
        {"board": {"count"}},
    ]


async def test_live_fragment_brings_its_own_connection() -> None:
    """The drop-in needs nothing else in the page, and takes nothing from others."""
    app = make_app()

    soup = await render(
        app, LIST + '{{ sse_live("board.count", tag="b", attrs={"id": "c"}) }}{{ sse_connect() }}'
    )

    live, page = connect_elements(soup)
    assert topics_of(live) == {"board": {"count"}}
    assert topics_of(page) == {"board": {"list"}}
    assert str(soup.select_one("#c")) == '<b data-sse="board.count" id="c">3</b>'


async def test_connect_without_anything_to_connect_is_nothing() -> None:
    """A layout may always connect: pages without fragments open no stream."""
    soup = await render(make_app(), "<p>{{ sse_connect() }}</p>")

    assert str(soup) == "<p></p>"


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        ('["board"]', {"board"}),
        ('[("board", {})]', {"board"}),
        ('[["rooms", {"room": "a b", "seat": 1}]]', {"rooms?room=a%20b&seat=1"}),
        ('[("rooms", {"room": "x", "seat": 1}), "board"]', {"rooms?room=x&seat=1", "board"}),
        ("[topic]", {"rooms?room=y&seat=2"}),
        ('[topic, "board", topic]', {"rooms?room=y&seat=2", "board"}),
    ],
)
async def test_connect_adds_topics(topics: str, expected: set[str]) -> None:
    """Topics whose events alone a page wants are added by name, pair or object."""
    app = make_app()
    topic = app.extensions["quart_sse"].channels.declared["rooms"].topic(room="y", seat=2)

    soup = await render(app, f"{{{{ sse_connect(topics={topics}) }}}}", topic=topic)

    (element,) = connect_elements(soup)
    assert topics_of(element) == dict.fromkeys(expected, frozenset())
    async with connected(app, element) as stream:
        published = await topic.publish("said", "x")
        assert published.local_receivers == (topic.name in expected)
        if topic.name in expected:
            assert (await stream.next()).event == "rooms.said?room=y&seat=2"


OFF = "[data-sse-off]"


@pytest.mark.parametrize(
    ("body", "is_off"),
    [
        (LIST + "{{ sse_connect(enabled=false) }}", True),
        (SIGNED.replace("sse_connect()", "sse_connect(enabled=false)"), True),
        ('{{ sse_event("board.said") }}{{ sse_connect(enabled=false) }}', True),
        ('{{ sse_connect(topics=["board"], enabled=false) }}', True),
        ("{{ sse_connect(user=true, enabled=false) }}", True),
        ("{{ sse_connect(enabled=false) }}", False),
        (LIST + "{{ sse_connect(enabled=true) }}", False),
    ],
)
async def test_page_need_not_be_live(
    caplog: pytest.LogCaptureFixture, body: str, is_off: bool
) -> None:
    """A page that is to be printed shows the same, opens nothing, and holds no token."""
    app = make_app()
    add_page(app, "{{ sse_scripts() }}" + body)
    answer = await QuartClient(app).get("/")

    soup = parse(await answer.get_data(as_text=True))

    assert bool(soup.select(OFF)) is is_off
    assert bool(soup.select("script[src*=quart-sse-off]")) is is_off
    if is_off:
        assert not connect_elements(soup)
        assert "Cache-Control" not in answer.headers
    assert not warnings_of(caplog)


@pytest.mark.parametrize(
    ("headers", "scripts"),
    [
        ({}, 1),
        ({"HX-Request": "true"}, 0),
        ({"HX-Request": "true", "HX-Boosted": "true"}, 1),
    ],
    ids=str,
)
async def test_part_of_a_page_need_not_be_live_either(
    headers: dict[str, str], scripts: int
) -> None:
    """An answer to htmx is not completed then; one for a boosted link says it as a page does."""
    app = make_app()
    add_page(app, "{{ sse_scripts() }}" + LIST + "{{ sse_connect(enabled=false) }}")

    soup = await get_page(app, headers=headers)

    assert len(soup.select(OFF)) == 1
    assert not connect_elements(soup)
    assert len(soup.select("script[src*=quart-sse-off]")) == scripts


async def test_what_follows_a_part_that_is_off_may_be_live() -> None:
    """Each connect element decides for what is above it."""
    body = LIST + '{{ sse_connect(enabled=false) }}{{ sse_fragment("board.count") }}'
    soup = await render(make_app(), body + "{{ sse_connect() }}")

    (element,) = connect_elements(soup)
    assert topics_of(element) == {"board": frozenset({"count"})}


async def test_shared_fragment_is_neither_live_nor_off() -> None:
    """Its HTML is for all viewers, of which some are live."""
    app = make_app()
    board = app.extensions["quart_sse"].channels.declared["board"]

    @board.fragment("outer")  # type: ignore[untyped-decorator]
    async def outer() -> str:
        return await render_template_string(MACROS + LIST + "{{ sse_connect(enabled=false) }}")

    with pytest.raises(FragmentError, match="for all viewers"):
        await render(app, '{{ sse_fragment("board.outer") }}')


# -- what is shown already -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ('"board.added", 12', "board.added id 12"),
        ('"board.added", "a b", "uuid"', "board.added uuid a b"),
        ('"board.added", 7, none', "board.added  7"),
        ('"rooms.added", 1, room="a b", seat=2', "rooms.added?room=a%20b&seat=2 id 1"),
        ('"board.added", 1, everyone=true', "board.added id 1"),
        ('"user.saved", 1', "user.saved id 1"),
        ('"board.added", quoted', 'board.added id "><b>'),
    ],
)
async def test_element_says_what_event_it_shows(call: str, expected: str) -> None:
    """The mark names event, key and id; the file that reads it comes with the connect element."""
    soup = await render(
        make_app(),
        f"{{{{ sse_scripts() }}}}<li {{{{ sse_seen({call}) }}}}>x</li>"
        '{{ sse_connect(topics=["board"]) }}',
        quoted='"><b>',
    )

    item = soup.select_one("li")
    assert item is not None
    assert item["data-sse-seen"] == expected
    assert len(soup.select("script[src*=quart-sse-seen]")) == 1


async def test_mark_alone_connects_nothing() -> None:
    """A page whose list is empty has none, so its topics must not depend on them."""
    soup = await render(make_app(), '<li {{ sse_seen("board.added", 1) }}>{{ sse_connect() }}')

    assert not connect_elements(soup)


# -- the elements --------------------------------------------------------------------------------


async def test_fragment_element_takes_tag_and_attributes() -> None:
    """A fragment is its element, a div unless said otherwise, and its HTML as it is."""
    attrs = {"id": "x", "class": "a b", "hidden": "", "title": None, "aria-live": "polite"}

    soup = await render(
        make_app(), '{{ sse_fragment("board.list", tag="ul", attrs=attrs) }}', attrs=attrs
    )

    (shown,) = soup.find_all(recursive=False)
    assert isinstance(shown, Tag)
    assert shown.name == "ul"
    assert shown.decode_contents() == "<li>list</li>"
    assert shown.attrs == {
        "data-sse": "board.list",
        "id": "x",
        "class": ["a", "b"],
        "hidden": "",
        "aria-live": "polite",
    }


HOSTILE = [
    "'\"><script>alert(1)</script>",
    "']<b>",
    "a&amp;b",
    "&lt;",
    "a b\tc",
    "</hx-partial>",
    "{{ 7 * 7 }}",
    "Käse 🧀",
    "a,b:c d",
    "%27",
    "\\'",
]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
async def test_hostile_parameter_stays_one_value(value: str) -> None:
    """Whatever a parameter holds, the page has the one fragment, found by its selector."""
    app = make_app()
    rooms = app.extensions["quart_sse"].channels.declared["rooms"]
    rooms.fragment("safe")(lambda room, seat: "<i>safe</i>")
    body = (
        '{{ sse_fragment("rooms.safe", room=room, seat=1) }}<i title="'
        '{{ sse_event("rooms.said", room=room, seat=1) }}"></i>{{ sse_connect() }}'
    )

    soup = await render(app, body, room=value)

    topic = rooms.topic(room=value, seat=1)
    (element,) = connect_elements(soup)
    event = soup.select_one("i[title]")
    assert event is not None
    assert [tag.name for tag in soup.find_all(True)] == ["div", "i", "i", "div"]
    assert topics_of(element) == {topic.name: {"safe"}}
    async with connected(app, element) as stream:
        await topic.publish("said", "x")
        assert (await stream.next()).event == event["title"]
        await topic.refresh("safe")
        message = parse((await stream.next("message")).data).find("hx-partial")
    assert isinstance(message, Tag)
    (target,) = soup.select(str(message["hx-target"]))
    assert target.name == "div"


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
async def test_hostile_attribute_stays_one_value(value: str) -> None:
    """Values of attributes are escaped."""
    soup = await render(
        make_app(), '{{ sse_fragment("board.list", attrs={"title": value}) }}', value=value
    )

    shown = soup.select_one("[data-sse='board.list']")
    assert shown is not None
    assert shown["title"] == value
    assert [tag.name for tag in soup.find_all(True)] == ["div", "li"]


@pytest.mark.parametrize(
    "name",
    [
        "x onclick",
        "x\tonclick",
        "x/onclick",
        "x>",
        "x=y onclick",
        "",
        '"x',
        "'x",
        "<x",
        "x\n",
        "x\0",
    ],
)
@pytest.mark.parametrize("macro", ["sse_fragment", "sse_live"])
async def test_name_that_would_be_two_is_no_attribute(name: str, macro: str) -> None:
    """A name with a space writes a handler of events, so it is refused as Jinja's xmlattr does."""
    with pytest.raises(ValueError, match="cannot name an attribute"):
        await render(
            make_app(), f'{{{{ {macro}("board.list", attrs={{name: "alert(1)"}}) }}}}', name=name
        )


@pytest.mark.parametrize(
    "tag", ["", "div onclick=alert(1)", "div>", "/div", "1", "script", "STYLE", "textarea", "a\n"]
)
async def test_tag_that_shows_no_html_is_refused(tag: str) -> None:
    """A tag is the name of an element whose content is HTML, and nothing more."""
    with pytest.raises(ValueError, match="tag is"):
        await render(make_app(), '{{ sse_fragment("board.list", tag=tag) }}', tag=tag)


async def test_names_that_can_be_attributes_are_written() -> None:
    """Attributes of htmx, of Alpine and of ARIA have colons, dots, @ and dashes."""
    names = ["hx-on:click", "@click.once", "x-bind:class", "aria-label", "data-a_b", ":key"]

    soup = await render(
        make_app(),
        '{{ sse_fragment("board.list", tag="my-list", attrs=attrs) }}',
        attrs=dict.fromkeys(names, "v"),
    )

    shown = soup.select_one("my-list")
    assert shown is not None
    assert {name: shown[name] for name in names} == dict.fromkeys(names, "v")


@pytest.mark.parametrize("where", ["attribute", "json", "text"])
async def test_event_name_is_the_wire_s(where: str) -> None:
    """The name that a page writes is the name that comes, wherever in the page it stands."""
    app = make_app()
    body = {
        "attribute": '<i title="{{ name }}"></i>',
        "json": "<script>{{ name|tojson }}</script>",
        "text": "<p>{{ name }}</p>",
    }[where]

    soup = await render(
        app,
        '{% set name = sse_event("rooms.said", room="a b", seat=1) %}'
        + body + "{{ sse_connect() }}",
    )  # fmt: skip

    (element,) = connect_elements(soup)
    named = soup.find(["i", "script", "p"])
    assert isinstance(named, Tag)
    name = named.get("title") or named.get_text()
    if where == "json":
        name = json.loads(str(name))
    topic = app.extensions["quart_sse"].channels.declared["rooms"].topic(room="a b", seat=1)
    async with connected(app, element) as stream:
        await topic.publish("said", "x")
        assert (await stream.next()).event == name == "rooms.said?room=a%20b&seat=1"


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ('sse_fragment("bord.list")', UnknownChannelError, "Declared: 'board', 'clubs', 'hidden'"),
        ('sse_live("bord.list")', UnknownChannelError, "Declared: 'board', 'clubs', 'hidden'"),
        ('sse_fragment("board.lst")', UnknownFragmentError, "Declared: 'count', 'list'"),
        ('sse_live("board.lst")', UnknownFragmentError, "Declared: 'count', 'list'"),
        ('sse_fragment("board")', FragmentError, "'channel.fragment'"),
        ('sse_fragment("board.list", seat=1)', ParameterError, "takes no parameters, not seat"),
        ('sse_fragment("rooms.list", seat=1)', ParameterError, "takes room, seat, not seat"),
        ('sse_fragment("rooms.list", room=1, seat=1)', ParameterError, "room=1"),
        ('sse_connect(topics=["bord"])', UnknownChannelError, "'bord'"),
        ('sse_connect(topics=["rooms"])', ParameterError, "takes room, seat, not none"),
        ('sse_event("bord.said")', UnknownChannelError, "'bord'"),
        ('sse_event("board.message")', EventError, "reserved"),
        ('sse_event("board")', EventError, "cannot name an event"),
        ('sse_event("rooms.said")', ParameterError, "takes room, seat"),
        ('sse_seen("bord.said", 1)', UnknownChannelError, "'bord'"),
        ('sse_seen("board.message", 1)', EventError, "reserved"),
        ('sse_seen("rooms.said", 1)', ParameterError, "takes room, seat"),
        ('sse_seen("board.said", 1, "a b")', MacroError, "without spaces"),
    ],
)
async def test_mistake_in_a_template_says_what_there_is(
    body: str, error: type[SSEError], message: str
) -> None:
    """Errors name what was written and what is declared."""
    with pytest.raises(error) as caught:
        await render(make_app(), f"{{{{ {body} }}}}")

    assert message in str(caught.value)


async def test_status_says_in_words_how_the_connection_is() -> None:
    """Until a script shows otherwise a page is not live, and a link reloads it."""
    soup = await render(make_app(), '{{ sse_status(open="<On air>", refresh="Again") }}')

    status = soup.select_one("[data-sse-status]")
    assert status is not None
    assert status["role"] == "status"
    shown = {
        str(span["data-state"]): "hidden" not in span.attrs for span in status.find_all("span")
    }
    assert [state for state, is_shown in shown.items() if is_shown] == ["stopped"]
    assert shown.keys() == {"connecting", "open", "partial", "retry", "stopped"}
    assert "<On air>" in status.get_text()
    link = status.find("a")
    assert link is not None
    assert (link["href"], link.get_text()) == ("/", "Again")


@pytest.mark.parametrize(
    ("path", "href"),
    [("/a b/?x=1&y=%22", "/a%20b/?x=1&y=%22"), ("//evil.example/", "/evil.example/")],
)
async def test_link_of_the_status_names_the_page(path: str, href: str) -> None:
    """An empty one would lead where ``<base>`` does; and none leads to another host."""
    app = make_app()
    async with app.test_request_context(path, root_path="/app"):
        soup = parse(await render_template_string(MACROS + "{{ sse_status() }}"))

    assert {link["href"] for link in soup.select("a[data-sse-refresh]")} == {f"/app{href}"}


@pytest.mark.parametrize("macro", ["sse_fragment", "sse_live"])
async def test_fragment_can_be_read_out(macro: str) -> None:
    """The attribute is on the element that stays, not on what is swapped."""
    app = make_app()
    soup = await render(app, f'{{{{ {macro}("board.list", aria_live="polite") }}}}')

    element = soup.select_one("[data-sse]")
    assert element is not None
    assert element["aria-live"] == "polite"


async def test_misspelt_aria_live_is_an_error() -> None:
    """Screen readers would ignore it without a word."""
    with pytest.raises(ValueError, match="'polite', 'assertive' or 'off'"):
        await render(make_app(), '{{ sse_fragment("board.list", aria_live="yes") }}')


# -- pages that never connect ----------------------------------------------------------------------


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of the extension."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("quart_sse.") and record.levelno >= logging.WARNING
    ]


async def test_page_that_never_connects_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Its fragments will not change, which is nearly always forgotten, never wanted."""
    app = make_app()
    add_page(app, LIST + '{{ sse_fragment("rooms.list", room="x", seat=1) }}')
    add_page(app, '{{ sse_connect() }}{{ sse_fragment("board.count") }}', "/too-early")

    for path in ("/", "/", "/too-early", "/too-early", "/"):
        await get_page(app, path)

    first, second = warnings_of(caplog)
    assert "board.list, rooms.list" in first
    assert "board.count" in second
    assert "sse_connect()" in first


@pytest.mark.parametrize("is_debug", [False, True])
async def test_swap_that_nothing_reads_is_logged_once_under_development(
    caplog: pytest.LogCaptureFixture, is_debug: bool
) -> None:
    """Not that of the connect element, which is for pages with htmx's extension."""
    app = make_app()
    app.debug = is_debug
    swap = '<p class="x" sse-swap="said"></p>'
    add_page(app, "{{ sse_scripts() }}" + LIST_AND_CONNECT)
    add_page(app, "{{ sse_scripts() }}" + swap + LIST_AND_CONNECT, "/swap")
    add_page(app, "{{ sse_scripts(shared=false) }}" + swap + LIST_AND_CONNECT, "/extension")

    for path in ("/", "/extension", "/swap", "/swap"):
        await get_page(app, path)

    assert ['sse-swap="said"' in each for each in warnings_of(caplog)] == [True] * is_debug


@pytest.mark.parametrize("is_handled", [False, True])
async def test_page_that_has_failed_is_not_logged_as_one_that_never_connects(
    caplog: pytest.LogCaptureFixture, is_handled: bool
) -> None:
    """The traceback is the reason; the template may have a connect element below the error."""
    app = make_app()
    add_page(app, LIST + "{{ 1 // 0 }}{{ sse_connect() }}")
    if is_handled:
        app.register_error_handler(ZeroDivisionError, lambda error: ("failed", 503))

    answer = await QuartClient(app).get("/")

    assert answer.status_code == (503 if is_handled else 500)
    assert warnings_of(caplog) == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (LIST_AND_CONNECT, {}),
        ('{{ sse_live("board.list") }}', {}),
        ("nothing live", {}),
        ("{{ sse_scripts() }}", {}),
        (LIST, {"HX-Request": "true"}),
        ('{{ sse_event("board.said") }}{{ sse_connect() }}', {}),
        ('{{ sse_connect(topics=["board"]) }}', {}),
    ],
    ids=["connects", "live", "no fragment", "scripts", "htmx", "event", "topics"],
)
async def test_page_that_needs_nothing_is_not_logged(
    caplog: pytest.LogCaptureFixture, body: str, headers: dict[str, str]
) -> None:
    """What is connected, or has nothing to connect, is no cause for a warning."""
    app = make_app()
    add_page(app, body)

    await get_page(app, headers=headers)

    assert not warnings_of(caplog)


async def test_fragment_s_own_url_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What a fragment's HTML contains was connected by the page that it goes into."""
    app = make_app()
    board = app.extensions["quart_sse"].channels.declared["board"]

    @board.fragment("outer", personal=True)  # type: ignore[untyped-decorator]
    async def outer() -> str:
        return await render_template_string(MACROS + LIST)

    soup = await get_page(app, "/sse/~/outer/board", headers={"HX-Request": "true"})

    assert not connect_elements(soup)
    assert not warnings_of(caplog)


# -- answers to htmx -------------------------------------------------------------------------------

HTMX = {"HX-Request": "true"}


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (LIST, HTMX, [{"board": {"list"}}]),
        (LIST, {**HTMX, "HX-Request-Type": "partial"}, [{"board": {"list"}}]),
        (LIST, {}, []),
        (LIST, {**HTMX, "HX-Boosted": "true"}, []),
        (LIST, {**HTMX, "HX-History-Restore-Request": "true"}, []),
        (LIST, {**HTMX, "HX-Request-Type": "full"}, []),
        (LIST_AND_CONNECT, HTMX, [{"board": {"list"}}]),
        (LIST_AND_CONNECT, {**HTMX, "HX-Boosted": "true"}, [{"board": {"list"}}]),
        ('{{ sse_live("board.list") }}', HTMX, [{"board": {"list"}}]),
        ("<p>no fragment</p>", HTMX, []),
    ],
    ids=[
        "htmx 2",
        "htmx 4",
        "page",
        "boosted",
        "history",
        "whole page",
        "connects itself",
        "boosted page",
        "live",
        "no fragment",
    ],
)
async def test_answer_to_htmx_brings_its_own_connection(
    body: str, headers: dict[str, str], expected: list[dict[str, set[str]]]
) -> None:
    """A part of a page has no layout that connects it, so it is given a connection."""
    app = make_app()
    add_page(app, f"<section>{body}</section>")

    soup = await get_page(app, headers=headers)

    assert [topics_of(element) for element in connect_elements(soup)] == expected


@pytest.mark.parametrize(
    ("status", "mimetype"), [(200, "text/plain"), (200, "application/json"), (422, "text/html")]
)
async def test_only_html_answers_are_added_to(status: int, mimetype: str) -> None:
    """What is no HTML, or no success, stays as the view made it."""
    app = make_app()

    @app.get("/")
    async def page() -> Response:
        text = await render_template_string(MACROS + LIST)
        return Response(text, status, mimetype=mimetype)

    answer = await QuartClient(app).get("/", headers=HTMX)

    assert answer.status_code == status
    assert not connect_elements(parse(await answer.get_data(as_text=True)))


async def test_answer_to_htmx_has_the_length_of_its_body() -> None:
    """The added element is counted in Content-Length."""
    app = make_app()
    add_page(app, LIST)

    answer = await QuartClient(app).get("/", headers=HTMX)

    assert int(answer.headers["Content-Length"]) == len(await answer.get_data())


# -- who may keep a page ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "own", "expected"),
    [
        (SIGNED, {}, None, "private, no-store"),
        (SIGNED, {}, "no-cache", "no-cache"),
        (SIGNED, {}, "public, max-age=60", "public, max-age=60"),
        ('{{ sse_live("hidden.list") }}', {}, None, "private, no-store"),
        ('{{ sse_connect(topics=["hidden"]) }}', {}, None, "private, no-store"),
        ('{{ sse_fragment("hidden.list") }}', HTMX, None, "private, no-store"),
        (LIST_AND_CONNECT, {}, None, None),
        (LIST_AND_CONNECT, {}, "max-age=60", "max-age=60"),
        (LIST, HTMX, None, None),
        ("nothing live", {}, None, None),
    ],
    ids=[
        "signed",
        "signed, own",
        "signed, public",
        "live",
        "topics",
        "htmx",
        "public",
        "public, own",
        "public htmx",
        "nothing",
    ],
)
async def test_page_with_a_token_is_kept_by_nobody(
    body: str, headers: dict[str, str], own: str | None, expected: str | None
) -> None:
    """A token is for one visitor, so no cache may keep its page, unless the view decided that."""
    app = make_app()

    @app.get("/")
    async def page() -> Response:
        response = await make_response(await render_template_string(MACROS + body))
        assert isinstance(response, Response)
        if own is not None:
            response.headers["Cache-Control"] = own
        return response

    answer = await QuartClient(app).get("/", headers=headers)

    assert answer.headers.get("Cache-Control") == expected


@pytest.mark.parametrize("how", ["rendered", "streamed"])
async def test_identity_is_that_of_the_view_s_request(tmp_path: Path, how: str) -> None:
    """Also a streamed page, which sees another ``g``, is signed for who asked for it."""
    (tmp_path / "page.html").write_text(MACROS + SIGNED)
    app = Quart(__name__, template_folder=str(tmp_path))
    app.secret_key = "for tests only"
    sse = SSE(app)
    sse.identity(lambda: g.get("user"))
    sse.channel("hidden", "/hidden").fragment("list")(lambda: "hidden")

    @app.before_request
    async def load_user() -> None:
        g.user = request.cookies.get("who")

    @app.get("/rendered")
    async def rendered() -> str:
        return await render_template("page.html")

    @app.get("/streamed")
    async def streamed() -> AsyncIterator[str]:
        return await stream_template("page.html")

    clients = {who: QuartClient(app) for who in ("ada", "bob")}
    for who, client in clients.items():
        client.set_cookie("localhost", "who", who)
    answer = await clients["ada"].get(f"/{how}")
    (element,) = connect_elements(parse(await answer.get_data(as_text=True)))
    first = {}
    for who, client in clients.items():
        async with open_stream(client, url_of(element)) as stream:
            first[who] = (await stream.next()).event

    assert first == {"ada": "sse-open", "bob": "sse-stop"}


@pytest.mark.parametrize(
    ("body", "who", "count"),
    [
        ("{{ sse_connect() }}", None, 0),
        ("{{ sse_connect(user=true) }}", None, 1),
        ("{{ sse_connect() }}", "ada", 1),
        ("{{ sse_connect() }}{{ sse_connect() }}", "ada", 1),
        ('{{ sse_event("user.saved") }}{{ sse_connect() }}', None, 1),
        ('{{ sse_event("everyone.saved") }}{{ sse_connect() }}', None, 1),
        ('{{ sse_live("board.list") }}', "ada", 1),
        ('{{ sse_live("board.list") }}{{ sse_connect() }}', "ada", 1),
        ("", "ada", 0),
    ],
)
async def test_page_of_a_user_connects_whatever_it_shows(
    body: str, who: str | None, count: int
) -> None:
    """For events of the user and of everyone; once."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    sse = SSE(app)
    sse.identity(lambda: who)
    sse.channel("board", "/board", public=True).fragment("list")(lambda: "x")
    add_page(app, body)

    soup = await get_page(app)

    elements = connect_elements(soup)
    assert len(elements) == count
    for element in elements:
        is_signed = "t=~" not in url_of(element)
        assert is_signed is (who is not None or "board" not in body)
        async with open_stream(app, url_of(element)) as stream:
            opened = json.loads((await stream.next("sse-open")).data)
        assert ("user" in opened["names"][0]) is (who is not None)
        assert "everyone" in opened["names"][0]


async def test_page_of_a_user_is_private() -> None:
    """Also if all of its channels are public; that of a visitor may be kept by caches."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    sse = SSE(app)
    sse.identity(lambda: request.args.get("who"))
    sse.channel("board", "/board", public=True).fragment("list")(lambda: "x")
    add_page(app, LIST_AND_CONNECT)
    client = app.test_client()

    assert "Cache-Control" not in (await client.get("/")).headers
    assert (await client.get("/?who=ada")).headers["Cache-Control"] == "private, no-store"
    app.secret_key = None
    assert "Cache-Control" not in (await client.get("/?who=ada")).headers


async def test_names_of_events_that_are_of_no_topic() -> None:
    """They have no parameters, and are checked like others."""
    app = Quart(__name__)
    app.secret_key = "for tests only"
    sse = SSE(app)
    sse.channel("rooms", "/rooms/<int:room>", public=True)
    names = ("user.a", "everyone.b", "connection.c")
    add_page(
        app,
        "".join(f'{{{{ sse_event("{name}") }}}} ' for name in names)
        + '{{ sse_event("rooms.d", everyone=true) }}',
    )

    text = (await get_page(app)).get_text()

    assert text.split() == [*names, "rooms.d"]
    for wrong in ('"user.message"', '"everyone.sse-reload"', '"bord.x", everyone=true'):
        bad = Quart("bad")
        SSE(bad)
        with pytest.raises((EventError, UnknownChannelError)):
            await render(bad, f"{{{{ sse_event({wrong}) }}}}")


async def test_presence_is_a_fragment_in_its_own_words(tmp_path: Path) -> None:
    """Those of ours, or of the app's template of the same name; connected as any fragment."""
    body = (
        '{{ sse_presence("clubs", seat=3, tag="p", attrs={"id": "a"}, aria_live="polite") }}'
        '{{ sse_presence("clubs", seat=3, names=true, attrs={"class": "b"}) }}{{ sse_connect() }}'
    )
    ours = await render(make_app(), body)
    (tmp_path / "quart_sse").mkdir()
    words = "{{ channel }} {{ params.seat }} {{ names }} {{ here.people }}"
    (tmp_path / "quart_sse" / "presence.html").write_text(words)
    own = await render(make_app(tmp_path), body)

    count, names = ours.select("[data-sse]")
    assert (count.name, count["data-sse"], count["id"]) == ("p", "clubs.presence?seat=3", "a")
    assert (count["aria-live"], count.get_text()) == ("polite", "1 person here")
    assert (names["data-sse"], names["class"]) == ("clubs.presence-names?seat=3", ["b"])
    (element,) = connect_elements(ours)
    assert topics_of(element) == {"clubs?seat=3": {"presence", "presence-names"}}
    assert [each.get_text() for each in own.select("[data-sse]")] == [
        "clubs 3 False 0",
        "clubs 3 True 0",
    ]


async def test_presence_of_a_fragment_of_the_apps_own(tmp_path: Path) -> None:
    """A fragment of that name takes the place of the built-in one."""
    app = make_app()
    clubs = app.extensions["quart_sse"].channels.declared["clubs"]
    clubs.fragment("presence", presence=True)(lambda seat: f"seat {seat}")

    page = await render(app, '{{ sse_presence("clubs", seat=3) }}{{ sse_connect() }}')

    assert [each.get_text() for each in page.select("[data-sse]")] == ["seat 3"]


async def test_presence_needs_a_channel_that_is_declared_with_it() -> None:
    """The error says how; an unknown channel is one as in every macro."""
    app = make_app()

    with pytest.raises(MacroError, match=r"sse\.channel\('board', \.\.\., presence=True\)"):
        await render(app, '{{ sse_presence("board") }}')
    with pytest.raises(UnknownChannelError):
        await render(app, '{{ sse_presence("boards") }}')
    with pytest.raises(ParameterError):
        await render(app, '{{ sse_presence("clubs") }}')


# -- streams of their own --------------------------------------------------------------------------


async def test_stream_is_an_element_with_what_is_inside() -> None:
    """The script comes with the first of them, with the page's nonce; the URL is escaped."""
    app = make_app()
    code = (
        "{{ sse_scripts(nonce='abc') }}"
        "{% call sse_stream('/a?b=1&c=2', tag='section', attrs={'id': 'own', 'class': none}) %}"
        "<p>inside</p>{% endcall %}{{ sse_stream('/b') }}"
    )
    soup = await render(app, code)

    first, second = soup.select("[sse-stream]")
    assert (first.name, first.attrs) == ("section", {"sse-stream": "/a?b=1&c=2", "id": "own"})
    assert first.decode_contents() == "<p>inside</p>"
    assert (second.name, second["sse-stream"], second.decode_contents()) == ("div", "/b", "")
    (script,) = [each for each in soup.find_all("script") if "-stream.min.js" in str(each["src"])]
    assert script["nonce"] == "abc"
    assert str(script["integrity"]).startswith("sha384-")


async def test_part_for_htmx_brings_no_script_of_a_stream() -> None:
    """A browser would judge it by the nonce of another page."""
    app = make_app()
    add_page(app, "{{ sse_scripts() }}{{ sse_stream('/b') }}")

    for headers, number in (({"HX-Request": "true"}, 0), ({}, 1)):
        answer = await app.test_client().get("/", headers=headers)
        text = await answer.get_data(as_text=True)
        assert text.count("quart-sse-stream.min.js") == number
        assert text.count('sse-stream="/b"') == 1


async def test_element_of_a_stream_is_one_that_shows_html() -> None:
    """As that of a fragment."""
    with pytest.raises(MacroError, match="tag is 'script'"):
        await render(make_app(), "{{ sse_stream('/b', tag='script') }}")
