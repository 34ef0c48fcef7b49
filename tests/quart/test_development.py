"""Development: a changed template is shown at once, and pages say why they are not live."""

import os
from pathlib import Path

import pytest
from quart import Quart, render_template

from quart_sse import SSE
from quart_sse.host import KEY
from quart_sse.quart.development import TemplateWatcher
from tests.support.streams import open_stream


def write(file: Path, text: str, at: int) -> None:
    """Write a template as it is at a time."""
    file.write_text(text)
    os.utime(file, (at, at))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Templates: one that a shared and a personal fragment show."""
    write(tmp_path / "_list.html", "<li>old", 1000)
    return tmp_path


@pytest.fixture
def app(folder: Path) -> Quart:
    """An app under development, with those fragments."""
    app = Quart(__name__, template_folder=str(folder))
    app.debug = True
    board = SSE(app).channel("board", "/board", public=True)

    @board.fragment("list", debounce=0)
    async def render_list() -> str:
        return await render_template("_list.html")

    board.fragment("mine", personal=True)(render_list)
    return app


async def test_changed_template_is_shown_at_once(app: Quart, folder: Path) -> None:
    """Without a refresh, a reload or a restart; personal fragments are fetched."""
    async with app.test_app(), open_stream(app, "/sse/board?since=0") as stream:
        first = [(await stream.next("message")).data for _ in range(2)]
        write(folder / "_list.html", "<li>new", 2000)
        then = [(await stream.next("message")).data for _ in range(2)]

    for messages, html in ((first, "<li>old"), (then, "<li>new")):
        assert any(html in message for message in messages)
        assert any("/sse/~/mine/board" in message for message in messages)


async def test_template_that_did_not_change_is_not_rendered(app: Quart, folder: Path) -> None:
    """Also when an editor replaces its file by the same one, or takes it away for a moment."""
    async with app.app_context():
        assert await render_template("_list.html") == "<li>old"
    renders: list[None] = []

    class Hub:
        def render_all(self) -> None:
            renders.append(None)

    watcher = TemplateWatcher(app, Hub())  # type: ignore[arg-type]
    watcher.poll()
    watcher.poll()
    (folder / "_list.html").unlink()
    watcher.poll()
    write(folder / "_list.html", "<li>old", 1000)
    watcher.poll()
    assert renders == []

    write(folder / "_list.html", "<li>new", 2000)
    watcher.poll()
    watcher.poll()
    assert renders == [None]


async def test_app_that_is_not_developed_watches_nothing(app: Quart, folder: Path) -> None:
    """Looking at files costs time that only developers want to spend."""
    app.debug = False
    async with app.test_app():
        assert len(app.extensions[KEY].housekeeping._chores) == 1


async def test_app_that_is_served_again_is_watched_once(app: Quart) -> None:
    """Tests serve one app many times; a watcher for each would look at each file as often."""
    for _ in range(2):
        async with app.test_app():
            watchers = app.extensions[KEY].housekeeping._chores[1:]

    assert len(watchers) == 1
