"""The scripts of a page: which ones, from where, and with which options."""

import base64
import hashlib
import re

import pytest
from quart import render_template_string
from quart.testing import QuartClient

from quart_sse import MacroError
from tests.support.pages import (
    MACROS,
    add_page,
    connect_elements,
    get_page,
    make_app,
    parse,
    render,
)

#: What every page loads that has our scripts.
CORE = ["quart-sse.min.js", "quart-sse-head.min.js"]
SENT, GLUE = "quart-sse-sent.min.js", "quart-sse-htmx.min.js"
MORPH = "quart-sse-morph.min.js"
#: Not needed before the page is painted.
DEFERRED = re.compile(r"quart-sse-(sent|morph|htmx)\.")


@pytest.mark.parametrize(
    ("number", "names"),
    [
        (2, ["htmx-2", *CORE, SENT, GLUE, MORPH]),
        (4, ["htmx-4", *CORE, SENT, GLUE, MORPH]),
    ],
)
@pytest.mark.parametrize("how", ["in a request", "outside a request"])
async def test_scripts_are_served_with_integrity_for_ever(
    number: int, names: list[str], how: str
) -> None:
    """Each script is what its integrity says, and never has to be asked for again."""
    app = make_app(QUART_SSE_HTMX=number)
    client = QuartClient(app)
    if how == "in a request":
        soup = await render(app, "{{ sse_scripts() }}")
    else:
        async with app.app_context():
            soup = parse(await render_template_string(MACROS + "{{ sse_scripts() }}"))

    for script, name in zip(soup.find_all("script"), names, strict=True):
        answer = await client.get(str(script["src"]))
        body = await answer.get_data(as_text=False)
        head = await client.head(str(script["src"]))

        digest = base64.b64encode(hashlib.sha384(body).digest()).decode()
        assert name in str(script["src"])
        more = {"defer"} if DEFERRED.search(name) else set()
        more |= {"data-files", "data-htmx"} if name == CORE[0] else set()
        assert set(script.attrs) == {"src", "integrity", "crossorigin"} | more
        assert script["integrity"] == f"sha384-{digest}"
        for headers in (answer.headers, head.headers):
            assert headers["Content-Type"].startswith("text/javascript")
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Access-Control-Allow-Origin"] == "*"
            cached = set(headers["Cache-Control"].split(", "))
            assert cached == {"public", "max-age=31536000", "immutable"}


@pytest.mark.parametrize(
    ("argument", "names"),
    [
        ("shared=false", ["htmx-2", "htmx-ext-sse"]),
        ("htmx=false", [*CORE, SENT, MORPH]),
        ("htmx='own'", [*CORE, SENT, GLUE, MORPH]),
    ],
)
async def test_scripts_that_are_not_wanted_are_left_out(argument: str, names: list[str]) -> None:
    """A page may use htmx's own extension, or our script without htmx."""
    soup = await render(make_app(), f"{{{{ sse_scripts({argument}) }}}}")

    sources = [str(script["src"]) for script in soup.find_all("script")]
    for source, name in zip(sources, names, strict=True):
        assert name in source


async def test_page_whose_scripts_open_streams_has_the_file() -> None:
    """Once, also if the page has an element with a stream."""
    soup = await render(make_app(), "{{ sse_scripts(streams=true) }}{{ sse_stream('/b') }}")
    sources = [str(script["src"]) for script in soup.find_all("script")]

    assert sum("quart-sse-stream.min.js" in source for source in sources) == 1
    with pytest.raises(MacroError, match="streams= apply"):
        await render(make_app(), "{{ sse_scripts(shared=false, streams=true) }}")


async def test_no_script_at_all_is_an_error() -> None:
    """A page that loads neither script is an error."""
    with pytest.raises(ValueError, match="no script at all"):
        await render(make_app(), "{{ sse_scripts(shared=false, htmx=false) }}")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [("htmx='mine'", "'own'"), ("htmx='own', shared=false", "must come after htmx")],
)
async def test_own_htmx_needs_what_goes_with_it(arguments: str, error: str) -> None:
    """The word for it, and our script."""
    with pytest.raises(MacroError, match=error):
        await render(make_app(), f"{{{{ sse_scripts({arguments}) }}}}")


@pytest.mark.parametrize(
    ("argument", "version"), [("", "4"), ("htmx='own'", "4"), ("htmx=false", None)]
)
async def test_script_is_told_the_version_of_htmx(argument: str, version: str | None) -> None:
    """It may come later than the script."""
    soup = await render(make_app(QUART_SSE_HTMX=4), f"{{{{ sse_scripts({argument}) }}}}")

    (script,) = soup.select("[data-files]")
    assert script.get("data-htmx") == version


@pytest.mark.parametrize(
    "argument", ["['https://a.org', 'http://b.org:81']", "'https://a.org http://b.org:81'"]
)
async def test_script_is_told_which_origins_it_may_connect(argument: str) -> None:
    """They stand on our script alone; where there are none nothing does."""
    plain = await render(make_app(), "{{ sse_scripts() }}")
    soup = await render(make_app(), f"{{{{ sse_scripts(origins={argument}) }}}}")

    assert plain.select("[data-origins]") == []
    (script,) = soup.select("[data-origins]")
    assert "/quart-sse.min.js" in str(script["src"])
    assert script["data-origins"] == "https://a.org http://b.org:81"


@pytest.mark.parametrize(
    "argument", ["['https://a.org/']", "'//a.org'", "'a.org'", "['']", "['javascript:x']", "7"]
)
async def test_what_is_no_origin_is_an_error(argument: str) -> None:
    """An origin has a scheme and a host, and nothing more."""
    with pytest.raises(ValueError, match=r"sse_scripts\(origins=\["):
        await render(make_app(), f"{{{{ sse_scripts(origins={argument}) }}}}")


async def test_page_that_reloads_itself_loads_what_does_so() -> None:
    """It is a file of its own, after the script that calls it, and other pages do not load it."""
    plain = await render(make_app(), "{{ sse_scripts(htmx=false) }}")
    soup = await render(make_app(), "{{ sse_scripts(htmx=false, reload=true) }}")

    assert len(plain.find_all("script")) == len([*CORE, SENT, MORPH])
    shared, *_, reload = (str(script["src"]) for script in soup.find_all("script"))
    assert "/quart-sse.min.js" in shared
    assert "/quart-sse-reload.min.js" in reload


MINE = '{{ sse_live("hidden.mine") }}'
PERSONAL = "quart-sse-personal.min.js"


async def test_page_with_a_personal_fragment_loads_what_fetches_it() -> None:
    """Once, before the connect element that names it, with the nonce of the page's scripts."""
    body = '{{ sse_scripts(nonce="a") }}{{ sse_live("hidden.list") }}' + MINE * 2
    soup = await render(make_app(), body)

    (script,) = soup.select(f"script[src*='{PERSONAL}']")
    (refused,) = soup.select("script[src*=refused]")
    shared, *named = connect_elements(soup)
    assert script["nonce"] == refused["nonce"] == "a"
    assert refused.find_next_sibling() is named[0]
    assert "data-sse-files" not in shared.attrs
    files = [
        f"{name} {str(each['src']).rpartition('/')[2]} {each['integrity']}"
        for name, each in (("personal", script), ("refused", refused))
    ]
    assert [each["data-sse-files"] for each in named] == [",".join(files)] * 2


@pytest.mark.parametrize(
    ("scripts", "headers"),
    [
        ("", {}),
        ("{{ sse_scripts(shared=false) }}", {}),
        ("{{ sse_scripts() }}", {"HX-Request": "true", "HX-Boosted": "true"}),
    ],
    ids=["no scripts", "scripts of htmx", "boosted"],
)
async def test_script_is_named_where_an_element_would_not_do(
    scripts: str, headers: dict[str, str]
) -> None:
    """The page may have a nonce that the answer does not know, or nothing to call the file."""
    app = make_app()
    add_page(app, scripts + MINE)
    soup = await get_page(app, headers=headers)

    assert soup.select(f"script[src*='{PERSONAL}']") == []
    (element,) = connect_elements(soup)
    assert str(element["data-sse-files"]).startswith(f"personal {PERSONAL}?v=")


async def test_answer_to_htmx_names_the_script() -> None:
    """The connect element that is added to an answer does as well as that of a page."""
    app = make_app()
    add_page(app, '{{ sse_fragment("hidden.mine") }}')
    soup = await get_page(app, headers={"HX-Request": "true"})

    (element,) = connect_elements(soup)
    assert PERSONAL in str(element["data-sse-files"])
    assert soup.find("script") is None


@pytest.mark.parametrize("argument", ["origins=['https://a.org']", "reload=true"])
async def test_option_of_a_script_that_is_left_out_is_an_error(argument: str) -> None:
    """It would be obeyed by nothing."""
    with pytest.raises(ValueError, match="shared=false"):
        await render(make_app(), f"{{{{ sse_scripts(shared=false, {argument}) }}}}")


async def test_page_reloads_by_itself_where_scripts_do_not_run() -> None:
    """The option stands in a noscript element, and only if it is asked for."""
    plain = await render(make_app(), "{{ sse_scripts() }}")
    soup = await render(make_app(), "{{ sse_scripts(refresh=30) }}")

    assert plain.find("noscript") is None
    meta = soup.find("meta")
    assert meta is not None
    assert meta.attrs == {"http-equiv": "refresh", "content": "30"}
    assert meta.parent is not None
    assert meta.parent.name == "noscript"


async def test_scripts_take_a_nonce() -> None:
    """A nonce for a strict policy is put on each script, escaped."""
    soup = await render(make_app(), """{{ sse_scripts(nonce='a"b') }}""")

    assert [script["nonce"] for script in soup.find_all("script")] == ['a"b'] * 6
