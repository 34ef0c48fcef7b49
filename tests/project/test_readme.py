"""What the documents say is run: their code, their templates, their keys and their links."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from quart import render_template, render_template_string

from quart_sse import SSE, Channel, Topic
from quart_sse.config import PREFIX, Config
from quart_sse.testing import live
from tests.support.browsers import visit
from tests.support.documents import (
    GUIDE,
    README,
    REFERENCE,
    ROOT,
    WHOLE_APP,
    anchors,
    blocks,
    has_test,
    links_to_tests,
    run_document,
    run_whole,
    template_of,
    write_templates,
)
from tests.support.servers import serve
from tests.support.streams import connect_urls, open_stream

TESTING = ROOT / "docs" / "testing.md"
#: Its files run among other packages, in tests/packages/.
EXAMPLES = ROOT / "docs" / "publishing-examples.md"
#: They configure the whole process, so they run in one of their own, in tests/project/.
WATCHING = (ROOT / "docs" / "logging.md", ROOT / "docs" / "tracing.md")
CONFIGURATION = ROOT / "docs" / "configuration.md"
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
ELSEWHERE = (REFERENCE, TESTING, EXAMPLES, *WATCHING)
APP_OF_THE_GUIDE = "The app of this page"
MOST_BYTES = 250_000  # of a picture
MOST_LINES = 200  # of the README

IMPORT = (
    '{% from "quart_sse/macros.html" import'
    " sse_scripts, sse_fragment, sse_connect, sse_live, sse_event, sse_seen, sse_status,"
    " sse_notifications, sse_presence, sse_stream %}"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
async def reader(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """What the reader of the guide has in the end, served."""
    namespace = await run_document(GUIDE)
    async with namespace["app"].test_app():
        yield namespace


# -- code --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [d for d in DOCUMENTS if blocks(d, "python") and d not in ELSEWHERE],
    ids=lambda path: path.name,
)
async def test_document_runs_from_top_to_bottom(document: Path, folder: Path) -> None:
    """Every block of Python runs after those before it, and values are as it says."""
    await run_document(document)


async def test_whole_app_shows_in_the_other_window(folder: Path) -> None:
    """The app that is printed first works as printed: what one posts, another one is sent."""
    namespace = await run_whole(README, WHOLE_APP)

    async with namespace["app"].test_app() as served:
        one, other = served.test_client(), served.test_client()
        page = await (await other.get("/")).get_data(as_text=True)
        assert "Open me in a second window." in page
        assert "/sse/~static/vendor/htmx" in page
        (url,) = connect_urls(page)
        async with open_stream(other, url) as stream:
            answer = await one.post("/", form={"note": "Hello <b>you</b>"})

            told = await stream.next("message")
            assert answer.status_code == 302
            assert "<li>Hello &lt;b&gt;you&lt;/b&gt;</li>" in told.data


async def test_test_of_the_guide_passes(reader: dict[str, Any]) -> None:
    """The test that the guide prints passes, and its app shows what was posted."""
    await reader["test_a_comment_reaches_open_pages"]()

    page = await reader["app"].test_client().get("/discussion/7")
    assert "<li>I do!</li>" in await page.get_data(as_text=True)


async def test_test_of_the_readme_passes(folder: Path) -> None:
    """Its four lines are a whole test."""
    namespace = await run_document(README)

    await namespace["test_a_comment_reaches_open_pages"]()


async def test_page_on_lists_shows_a_whole_app(folder: Path) -> None:
    """What is said in it reaches the page as one item."""
    namespace = await run_document(ROOT / "docs" / "lists.md")
    app = namespace["app"]

    async def page() -> str:
        return await render_template("chat.html")

    app.add_url_rule("/", view_func=page)

    async with app.test_app():
        client = app.test_client()
        async with live(client, "/") as shown:
            await client.post("/chat/3", form={"text": "Hello <you>"})
            item = await shown.item("chat.messages", 1)

    assert item is not None
    assert "Hello &lt;you&gt;</li>" in item


async def test_test_of_the_page_on_notifications_passes(folder: Path) -> None:
    """It is a whole test; its page shows what is kept by the template that the page prints."""
    namespace = await run_document(ROOT / "docs" / "notifications.md")
    app = namespace["app"]
    async with app.test_app():
        await namespace["test_user_is_notified"]()
        async with app.app_context():
            await namespace["sse"].user("mira").notify("Here", data={"url": "/reports/12"})
        client = app.test_client()
        async with client.session_transaction() as session:
            session["user"] = "mira"
        html = await (await client.get("/")).get_data(as_text=True)

    assert '<a data-slot-href="data.url" href="/reports/12">Open</a>' in html


@pytest.mark.timeout(180)
def test_module_of_the_page_on_testing_passes(folder: Path) -> None:
    """Each block is of the file that its first line names, and pytest runs them as a reader's."""
    files: dict[str, str] = {}
    for block in blocks(TESTING, "python"):
        named = re.match(r"# (\w+\.py)\n", block.code)
        assert named is not None, block.place
        files[named[1]] = files.get(named[1], "") + block.code
    for name, code in files.items():
        (folder / name).write_text(code, "utf-8")
        compile(code, name, "exec")
    (folder / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_mode = auto\n"
        "asyncio_default_fixture_loop_scope = function\n",
        "utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "quart_sse_pytest", "test_app.py"]

    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_test_of_the_guide_passes_however_often_it_stands_in_a_file(folder: Path) -> None:
    """Each runs in an event loop of its own, which is pytest-asyncio's default."""
    namespace = asyncio.run(run_document(GUIDE))

    for _ in range(3):
        asyncio.run(namespace["test_a_comment_reaches_open_pages"]())


async def test_channel_can_be_listened_to_as_the_curl_line_does(reader: dict[str, Any]) -> None:
    """The URL of the curl line streams the channel's events, by their bare names."""
    (line,) = (block.code for block in blocks(GUIDE, "console") if block.code.startswith("curl -N"))
    path = line.split()[-1].partition(":8000")[2]

    async with open_stream(reader["app"], path) as stream:
        topic = reader["comments"].topic(discussion_id=7)
        assert (await topic.publish("comment-added", {"by": "kip"})).local_receivers == 1
        assert (await stream.next("comment-added")).data == '{"by": "kip"}'


async def test_view_of_ones_own_streams(reader: dict[str, Any]) -> None:
    """The ticker begins with what the view gives it, and goes on with the topic."""
    async with open_stream(reader["app"], "/ticker") as stream:
        assert (await stream.next("price")).data == "42"
        await reader["prices"].topic().publish("price", "43")
        assert (await stream.next("price")).data == "43"


async def test_personal_fragment_greets_its_viewer(reader: dict[str, Any]) -> None:
    """The greeting is the viewer's own."""
    client = reader["app"].test_client()
    async with client.session_transaction() as session:
        session["user"] = "mira"

    answer = await client.get("/sse/~/greeting/discussion/7/comments")

    assert "Hello mira!" in await answer.get_data(as_text=True)


async def test_templates_render(reader: dict[str, Any]) -> None:
    """Every piece of a template that is shown renders in the app that it is shown for."""
    pieces = [
        block
        for document in (README, GUIDE)
        for block in blocks(document, "jinja")
        if template_of(block) is None
    ]
    async with reader["app"].test_request_context("/"):
        rendered = [await render_template_string(IMPORT + piece.code) for piece in pieces]

    assert any("comments.comment-added?discussion_id=7 from:" in text for text in rendered)
    assert all(connect_urls(text) for text in rendered if "{{ sse_connect" in text)


@pytest.mark.browser
@pytest.mark.timeout(90)
@pytest.mark.parametrize("htmx", [2, 4])
async def test_script_hears_events(browser: Browser, folder: Path, htmx: int) -> None:
    """The script for events hears them with either htmx, each once, also after a reconnect."""
    steps = [block.code for block in blocks(GUIDE, "python") if block.heading == APP_OF_THE_GUIDE]
    (script,) = (block.code for block in blocks(GUIDE, "jinja") if "<script>" in block.code)
    write_templates(GUIDE, folder)
    (folder / "templates" / "listen.html").write_text(
        f"{IMPORT}<!doctype html><head>{{{{ sse_scripts() }}}}</head><body>"
        "<title></title><script>window.titles = [];"
        "new MutationObserver(() => titles.push(document.title))"
        ".observe(document.querySelector('title'), {childList: true})</script>" + script,
        "utf-8",
    )
    views = """
@app.get("/listen")
async def listen():
    return await render_template("listen.html")


counted = 0


@app.get("/count")
async def count():
    global counted
    counted += 1
    return f"counted {counted}"


@app.post("/publish/<name>")
async def publish(name):
    await comments.topic(discussion_id=7).publish("comment-added", {"by": name})
    return "", 204


@app.post("/cut")
async def cut():
    await sse.recheck(comments.topic(discussion_id=7))
    return "", 204
"""
    (folder / "reader_app.py").write_text("\n\n".join([*steps, views]), "utf-8")
    command = [
        *("-m", "uvicorn", "--app-dir", str(folder), "reader_app:app", "--log-level", "warning"),
        *("--timeout-graceful-shutdown", "5", "--port"),
    ]

    async with (
        serve(lambda port: [*command, str(port)], {"QUART_SSE_HTMX": str(htmx)}) as server,
        visit(browser, server, "/listen") as page,
    ):
        await server.post("/publish/mira")
        await expect(page).to_have_title("New comment by mira")
        await page.evaluate("addEventListener('sse:retry', () => { window.wasAway = true; })")
        await server.post("/cut")
        await page.wait_for_function("() => window.wasAway")
        await server.post("/publish/kip")
        await expect(page).to_have_title("New comment by kip")
        await expect(page.get_by_text("counted 2")).to_be_visible()
        titles = await page.evaluate("titles")

    assert titles == ["New comment by mira", "New comment by kip"]


# -- what is said ------------------------------------------------------------------------------


def keys_of(document: Path) -> dict[str, str]:
    """Return the keys in a document's tables -> the default that stands beside them."""
    rows = re.findall(rf"^\| `({PREFIX}\w+)` \| ([^|]+?) \|", document.read_text("utf-8"), re.M)
    assert len(rows) == len({key for key, _ in rows}), "a key stands in two rows"
    return dict(rows)


def test_every_key_is_documented() -> None:
    """The table of keys has all of them and no other."""
    assert keys_of(CONFIGURATION).keys() == {
        PREFIX + field.name.upper() for field in fields(Config)
    }


@pytest.mark.parametrize("document", [REFERENCE, CONFIGURATION], ids=lambda path: path.name)
def test_defaults_of_keys_are_as_documented(document: Path) -> None:
    """A default that is documented is the one that is used."""
    for key, shown in keys_of(document).items():
        default = getattr(Config(), key.removeprefix(PREFIX).lower())
        if shown == "none":
            assert not default, key
        else:
            read = Config.read({key: shown.strip("`")}, {})
            assert getattr(read, key.removeprefix(PREFIX).lower()) == default, key


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_keys_that_are_named_exist(document: Path) -> None:
    """Every key that a document names is one."""
    named = set(re.findall(rf"{PREFIX}[A-Z_]+[A-Z]", document.read_text("utf-8")))

    assert named <= keys_of(CONFIGURATION).keys() | {f"{PREFIX}MODEL_EXAMPLES"}


def exported() -> dict[str, list[str]]:
    """Return what ``macros.html`` exports -> the arguments that it names, without their defaults.

    Some are macros, some functions under the name of one, whose arguments stand in Python.
    """
    text = (ROOT / "templates" / "quart_sse" / "macros.html").read_text("utf-8")
    names = re.findall(r"\{%-? (?:macro|set) (sse_\w+)", text)
    taken = dict(re.findall(r"\{%-? macro (\w+)\((.*?)\) -?%\}", text))
    return {
        name: [part.partition("=")[0].strip() for part in taken.get(name, "name").split(",")]
        for name in names
    }


def test_reference_names_everything_public() -> None:
    """Every macro, and every method that users call, is in the reference and in the guide."""
    names = set(exported())
    for owner in (SSE, Topic):
        names |= {name for name in vars(owner) if not name.startswith("_")}
    names |= {"authorize", "fragment"} & set(vars(Channel))

    for document in (REFERENCE, GUIDE):
        text = document.read_text("utf-8")
        assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set(), document


def test_readme_is_a_front_page() -> None:
    """The README can be read in five minutes; what it would hold beyond that is in the guide."""
    assert len(README.read_text("utf-8").splitlines()) <= MOST_LINES


def test_macros_take_what_the_reference_says() -> None:
    """The arguments of macros are the ones that the reference lists."""
    listed = dict(re.findall(r"^\| `(sse_\w+)\((.*?)\)` \|", REFERENCE.read_text("utf-8"), re.M))
    taken = exported()

    assert listed.keys() == taken.keys()
    for name, arguments in taken.items():
        for argument in arguments:
            assert argument in {"channel", "name", "url"} or re.search(
                rf"\b{argument}=", listed[name]
            ), name


def test_claims_of_the_security_page_name_tests_that_exist() -> None:
    """Every link to a test has the name of one that its file holds."""
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    links = links_to_tests(text)

    assert len(links) == text.count("[test](")
    assert len(links) > 15
    assert [link for link in links if not has_test(*link)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    """Every link to something in the repository leads to a file, and every anchor to a heading."""
    text = re.sub(r"```.*?```", "", document.read_text("utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)(?: \"\w+\")?\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (document.parent / path).resolve() if path else document
        assert target.is_relative_to(ROOT), link
        assert target.is_file(), link
        if anchor:
            assert anchor in anchors(target), link


def test_pictures_are_small() -> None:
    """The README loads quickly."""
    pictures = sorted((ROOT / "docs").glob("*.png"))

    assert pictures
    assert {path.name for path in pictures if path.stat().st_size > MOST_BYTES} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_that_are_named_exist(document: Path) -> None:
    """Every ``make`` command that is printed is one."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text("utf-8"), re.M)

    assert set(named) <= targets


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn", "granian"])
async def test_servers_know_the_options_that_are_recommended(server: str) -> None:
    """Every option in the table of servers is one of that server's."""
    (command,) = re.findall(rf"^\| \w+ \| `({server} .*?)` \|$", GUIDE.read_text("utf-8"), re.M)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", server, "--help"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()

    options = re.findall(r"--[a-z-]+", command)
    assert [option for option in options if option not in told.decode()] == []
