"""docs/publishing.md: its code runs, its commands work, its answers are those of the app."""

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from quart.testing import QuartClient

from quart_sse import Publisher
from tests.support.documents import ROOT, run_document
from tests.support.redis_server import running_redis
from tests.support.shell import Shell

DOCUMENT = ROOT / "docs" / "publishing.md"
TEXT = DOCUMENT.read_text("utf-8")


async def post(app: Any, told: object) -> tuple[int, dict[str, Any]]:
    """Send a request with the key of the page."""
    headers = {"Authorization": f"Bearer {app.config['PUBLISH_KEY']}"}
    answer = await QuartClient(app).post("/sse/~publish", json=told, headers=headers)
    return answer.status_code, json.loads(await answer.get_data())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_code_runs_and_requests_are_answered_as_the_page_says() -> None:
    """The one of curl, each form in the tables, and the error."""
    names = await run_document(DOCUMENT)
    app = names["app"]
    (curl,) = re.findall(r"-d '(.*)'", TEXT)
    (problem,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    whom = re.findall(r'^\| `("(?:channel|user|everyone)": .*?)` \|', TEXT, re.MULTILINE)
    what = re.findall(r'^\| `("(?:event|notify|refresh|push|close)": .*?)` \|', TEXT, re.MULTILINE)

    assert (len(whom), len(what)) == (4, 5)
    assert [*(await post(app, json.loads(curl)))[1]] == ["id"]
    for each in whom:
        assert (await post(app, json.loads(f'{{{each}, "event": "done"}}')))[0] == 200
    for each in what:
        assert (await post(app, json.loads(f"{{{whom[0]}, {each}}}")))[0] == 200
    told = {"channel": "job", "event": "done"}
    assert await post(app, told) == (404, json.loads(problem))
    assert (await QuartClient(app).post("/sse/~publish", json=told)).status_code == 403


async def test_commands_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each exits with 0, against an app that has the page's channels."""
    names = await run_document(DOCUMENT)
    by_url = re.findall(r"^python -m quart_sse (.*)$", TEXT, re.MULTILINE)
    beside = re.findall(r"^quart --app shop sse (?!tail)(.*?)(?: >.*)?$", TEXT, re.MULTILINE)

    def make(url: str) -> Any:
        app = names["Quart"](__name__)
        app.config |= {"QUART_SSE_BROKER_URL": url, "QUART_SSE_REDIS_PREFIX": "sse"}
        sse = names["SSE"](app)
        sse.channel("news", "/news", public=True)
        sse.channel("jobs", "/jobs/<int:number>", public=True).fragment("progress")(lambda: "")
        return app

    async with running_redis(tmp_path) as redis:
        monkeypatch.setenv("QUART_SSE_BROKER_URL", redis.url)
        app = make(redis.url)
        await app.startup()
        await app.extensions["quart_sse"].control.processes.announce()
        with_publisher = Publisher(redis.url)
        await asyncio.to_thread(with_publisher.topic("jobs", number=7).publish, "done")
        with_publisher.close()
        shell = Shell(capsys, redis.url)
        for command in by_url:
            arguments = shlex.split(command.replace("$connection", "x"))
            if "--prefix" in arguments:
                arguments[1:4] = [redis.url, "--prefix", "sse"]
            told = await shell(*arguments)
            assert told.code == 0, told.err
        for command in beside:
            told = await shell.beside(make(redis.url), *shlex.split(command))
            assert told.code == 0, told.err
        await app.shutdown()

    assert (len(by_url), len(beside)) == (5, 5)
