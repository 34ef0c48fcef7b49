"""docs/publishing-examples.md: each file runs as printed, and changes the page."""

import asyncio
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from quart import render_template_string
from quart.testing import QuartClient

from quart_sse.testing import LivePage, live
from tests.support.documents import ROOT
from tests.support.redis_server import RedisServer, running_redis

pytestmark = [pytest.mark.packages, pytest.mark.timeout(120)]

TEXT = (ROOT / "docs" / "publishing-examples.md").read_text("utf-8")
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", TEXT, re.DOTALL))
PAGE = "/7"
#: Seconds until a process of another package has started and done its work.
PATIENCE = 60.0


@pytest.fixture
async def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisServer]:
    """A Redis, and the files of the page in the current folder, where they find each other."""
    code = tmp_path / "code"
    code.mkdir()
    for name, text in FILES.items():
        (code / name).write_text(text, "utf-8")
    monkeypatch.chdir(code)
    monkeypatch.syspath_prepend(str(code))
    async with running_redis(tmp_path) as redis:
        monkeypatch.setenv("QUART_SSE_BROKER_URL", redis.url)
        monkeypatch.setenv("CELERY_BROKER_URL", redis.url.replace("unix", "redis+socket", 1))
        yield redis
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)


@asynccontextmanager
async def page_with(name: str = "app") -> AsyncIterator[tuple[Any, QuartClient, LivePage]]:
    """Serve the app with an example, and look at its page."""
    module = importlib.import_module(name)
    app = importlib.import_module("app").app
    async with app.test_app():
        client = QuartClient(app)
        await app.extensions["quart_sse"].control.processes.announce()
        async with live(client, PAGE) as page:
            yield module, client, page


def run(*command: str) -> None:
    """Run a program in the current folder, to its end."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


async def test_sync_view_changes_the_page(redis: RedisServer) -> None:
    """What it has done is shown."""
    async with page_with("sync_view") as (_, client, page):
        assert page.current("jobs.progress") == "0 of 10"
        assert (await client.post("/7/step")).status_code == 200
        assert await page.fragment("jobs.progress") == "1 of 10"


async def test_thread_changes_the_page_to_its_end(redis: RedisServer) -> None:
    """And publishes that it is done."""
    async with page_with("thread") as (_, client, page):
        await client.post("/7/start")
        assert await page.event("jobs.done") == {"number": 7}
        await page.settle()
        assert page.current("jobs.progress") == "10 of 10"


async def test_commit_refreshes_and_rollback_does_not(redis: RedisServer) -> None:
    """The session's own hooks do it, whatever the view is."""
    orm = importlib.import_module("sqlalchemy.orm")
    async with page_with("database") as (module, client, _):
        app = importlib.import_module("app").app
        source = (
            '{% from "quart_sse/macros.html" import sse_live %}'
            '{{ sse_live("jobs.stored", number=7) }}'
        )

        async def stored() -> str:
            return await render_template_string(source)

        app.add_url_rule("/stored", view_func=stored)

        def roll_back() -> None:
            with orm.Session(module.engine) as session:
                session.add(module.Job(number=8, count=1))
                session.flush()
                session.rollback()
                assert not session.info.get("changed")

        async with live(client, "/stored") as page:
            assert page.current("jobs.stored") == "0 of 10"
            await asyncio.to_thread(roll_back)
            await client.post("/7/save/4")
            assert await page.fragment("jobs.stored") == "4 of 10"
        module.engine.dispose()


async def test_scheduler_changes_the_page(redis: RedisServer) -> None:
    """Once a second, from a thread of its own, until the app stops."""
    async with page_with("schedule") as (module, _, page):
        assert await page.fragment("jobs.progress", timeout=10) == "1 of 10"
    assert not module.scheduler.running


async def test_celery_task_changes_the_page(redis: RedisServer) -> None:
    """In a real worker, whose pool is forked."""
    path = os.pathsep.join([os.getcwd(), str(ROOT), os.environ.get("PYTHONPATH", "")])
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "celery", "--app", "tasks", "worker", "--concurrency", "2"),
        *("--loglevel", "WARNING", "--without-gossip", "--without-mingle"),
        env={**os.environ, "PYTHONPATH": path, "C_FORCE_ROOT": "1"},
    )
    try:
        async with page_with() as (module, _, page):
            tasks = importlib.import_module("tasks")
            module.done[7] = 5
            await asyncio.to_thread(tasks.report.delay, 7)
            assert await page.event("jobs.done", timeout=PATIENCE) == {"number": 7}
            await page.settle()
            assert page.current("jobs.progress") == "5 of 10"
    finally:
        worker.terminate()
        await worker.wait()


async def test_flask_app_changes_the_page(redis: RedisServer) -> None:
    """It knows no app of Quart."""
    async with page_with() as (module, _, page):
        shop = importlib.import_module("shop").shop
        module.done[7] = 3
        answer = await asyncio.to_thread(shop.test_client().post, "/orders/7")
        assert answer.status_code == 200
        assert await page.fragment("jobs.progress") == "3 of 10"


def make_django_site() -> None:
    """Make a site with the command in the current folder."""
    folder = Path("site_app/management/commands")
    folder.mkdir(parents=True)
    for package in (folder, folder.parent, folder.parent.parent):
        (package / "__init__.py").touch()
    Path("announce.py").rename(folder / "announce.py")
    Path("settings.py").write_text('INSTALLED_APPS = ["site_app"]\nSECRET_KEY = "x"\n', "utf-8")


async def test_django_command_reaches_every_page(redis: RedisServer) -> None:
    """As Django runs it."""
    make_django_site()
    command = [sys.executable, "-m", "django", "announce", "soon", "--settings", "settings"]
    async with page_with() as (_, _, page):
        await asyncio.to_thread(run, *command, "--pythonpath", ".")
        assert await page.event("everyone.notice") == {"text": "soon"}


async def test_line_of_cron_changes_the_page(redis: RedisServer) -> None:
    """The command of the line, with the URL of the Redis of the test."""
    (line,) = re.findall(r"^\*/5 \* \* \* \*  (.*)$", TEXT, re.MULTILINE)
    command = shlex.split(line.replace("redis://localhost", redis.url))
    async with page_with() as (module, _, page):
        module.done[7] = 9
        await asyncio.to_thread(run, sys.executable, *command[1:])
        assert await page.fragment("jobs.progress") == "9 of 10"


def test_every_file_is_tried_here() -> None:
    """A file without a test may be wrong."""
    assert [*FILES] == [
        *("app.py", "sync_view.py", "thread.py", "database.py", "schedule.py", "tasks.py"),
        *("shop.py", "announce.py"),
    ]
