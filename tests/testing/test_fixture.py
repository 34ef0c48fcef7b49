"""The plugin's fixture, in runs of pytest of their own: modes, loops, backends."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from quart import Quart
from quart.testing import QuartClient

from quart_sse import LivePageError
from quart_sse.testing import LivePages
from tests.support.servers import ROOT

#: Longest time of a user's test, in seconds; Quart alone waits for five where a task goes on.
AT_ONCE = 4.5

TESTS = """
import asyncio
import pytest, pytest_asyncio
from tests.apps.tested import make_app
from quart_sse.testing import live

{mark}

@{fixture}
async def served():
    app = make_app()[0]
    @app.before_serving
    async def begin():
        app.add_background_task(asyncio.Event().wait)
    async with app.test_app():
        yield app

@pytest.fixture
def plain():
    return make_app()[0]

class TestPlain:
    @pytest.fixture
    def app(self, plain):
        return plain

    {decorator}
    @pytest.mark.parametrize("number", [1, 2])
    async def test_fixture(self, live_page, app, number):
        page = await live_page("/discussion/7")
        other = await live_page("/discussion/7", client=app)
        await app.test_client().post("/discussion/7", form={{"text": "hello"}})
        assert "hello" in await page.fragment("comments.list")
        assert "hello" in await other.fragment("comments.list")

    {decorator}
    async def test_context(self, app):
        client = app.test_client()
        async with live(client, "/discussion/7") as page:
            await client.post("/discussion/7", form={{"text": "hello"}})
            assert "hello" in await page.fragment("comments.list")
            assert await page.event("comments.hello")

class TestServed(TestPlain):
    @pytest.fixture
    def app(self, served):
        return served
"""
ANYIO = """
@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


def run_pytest(folder: Path, code: str, ini: str = "", *options: str) -> dict[str, float]:
    """Run a module of tests in a process of its own, and return test -> its time in seconds.

    An error in any of them, a warning among them, fails the test that calls this.
    """
    (folder / "test_of_a_user.py").write_text(code, "utf-8")
    (folder / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{ini}", "utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "quart_sse_pytest",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, "--junitxml", "times.xml", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cases = ElementTree.parse(folder / "times.xml").iter("testcase")
    return {
        f"{case.attrib['classname']} {case.attrib['name']}": float(case.attrib["time"])
        for case in cases
    }


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("mode", "scope"), [("auto", "function"), ("auto", "session"), ("strict", "module")]
)
def test_every_mode_of_pytest_asyncio(tmp_path: Path, mode: str, scope: str) -> None:
    """A loop for each test and one for all, with and without `test_app()`; all end at once."""
    is_strict = mode == "strict"
    code = TESTS.format(
        mark="",
        fixture=f'pytest_asyncio.fixture(loop_scope="{scope}")' if is_strict else "pytest.fixture",
        decorator=f'@pytest.mark.asyncio(loop_scope="{scope}")' if is_strict else "",
    )
    ini = (
        f"asyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = {scope}\n"
        f"asyncio_default_test_loop_scope = {scope}\n"
    )

    times = run_pytest(tmp_path, code, ini)

    assert len(times) == 6
    assert max(times.values()) < AT_ONCE, times


@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_asyncio_there", [False, True])
def test_anyio(tmp_path: Path, is_asyncio_there: bool) -> None:
    """Its loops serve as well, also where pytest-asyncio is not installed."""
    mark = "pytestmark = pytest.mark.anyio" + ANYIO
    code = TESTS.format(mark=mark, fixture="pytest.fixture", decorator="")
    ini = "asyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n"

    if is_asyncio_there:
        times = run_pytest(tmp_path, code, ini)
    else:
        times = run_pytest(tmp_path, code, "", "-p", "no:asyncio")

    assert len(times) == 6
    assert max(times.values()) < AT_ONCE, times


def test_plugin_imports_nothing_until_the_fixture_is_used(tmp_path: Path) -> None:
    """It is loaded in every run of pytest, of whatever project, and must cost nothing."""
    code = """
import sys

OURS = ("quart_sse", "quart", "redis", "jinja2")

def test_before():
    import quart_sse_pytest
    assert [name for name in OURS if name in sys.modules] == []

def test_after(live_page):
    assert "quart_sse.testing" in sys.modules
"""
    times = run_pytest(tmp_path, code, "", "-p", "no:asyncio")

    assert [name.split()[1] for name in times] == ["test_before", "test_after"]


def test_plugin_is_found_by_pytest() -> None:
    """By the entry point, under the name of the module, so that it is never loaded twice."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert project["entry-points"]["pytest11"] == {"quart_sse_pytest": "quart_sse_pytest"}


def test_entry_point_and_option_are_one_plugin(tmp_path: Path) -> None:
    """A project may name the plugin, although it is installed."""
    installed = tmp_path / "installed_plugin-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: installed-plugin\nVersion: 1\n"
    )
    (installed / "entry_points.txt").write_text("[pytest11]\nquart_sse_pytest = quart_sse_pytest\n")
    code = """
def test_fixture(request):
    assert request.getfixturevalue("live_page")
"""

    assert len(run_pytest(tmp_path, code, "", "-p", "no:asyncio")) == 1


async def test_page_is_left_at_the_end(app: Quart) -> None:
    """In a loop that still runs, it is left soon."""
    pages = LivePages(app)
    page = await pages("/discussion/7")
    assert page.closed is None

    pages.finish()

    assert await page.until_closed() == "left"


async def test_client_of_a_call_comes_first(app: Quart, client: QuartClient) -> None:
    """So that a test has several users."""
    await client.post("/sign-in", form={"name": "kip"})
    pages = LivePages(app.test_client())

    page = await pages("/discussion/7", client=client)
    other = await pages("/discussion/7")

    assert page.current("comments.mine") == "kip: 0"
    assert other.current("comments.mine") == "None: 0"
    await page.close()
    await other.close()


async def test_without_a_client_the_error_says_what_to_define() -> None:
    """The fixture itself is no error, for a test may pass a client."""
    with pytest.raises(LivePageError, match="neither a fixture client"):
        await LivePages()("/")


def test_fixtures_of_the_test_are_used(tmp_path: Path) -> None:
    """A client that is signed in comes before the app; a client of another kind is none."""
    code = """
import httpx, pytest
from tests.apps.tested import make_app

@pytest.fixture
def app():
    return make_app()[0]

class TestOfQuart:
    @pytest.fixture
    async def client(self, app):
        client = app.test_client()
        await client.post("/sign-in", form={"name": "mira"})
        return client

    async def test_signed_in(self, live_page):
        page = await live_page("/discussion/7")
        assert page.current("comments.mine") == "mira: 0"

class TestOfHttpx:
    @pytest.fixture
    async def client(self):
        async with httpx.AsyncClient() as client:
            yield client

    async def test_app(self, live_page):
        page = await live_page("/discussion/7")
        assert page.current("comments.mine") == "None: 0"
"""
    ini = "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"

    assert len(run_pytest(tmp_path, code, ini)) == 2
