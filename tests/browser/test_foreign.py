"""The plain JavaScript of docs/clients.md in a page that has no script of the package."""

import pytest
from playwright.async_api import Browser, Page

from tests.support.documents import blocks
from tests.support.foreign import bad_gateway, kill, publish, serving
from tests.support.redis_server import RedisServer
from tests.support.servers import ROOT, until_so

pytestmark = [pytest.mark.browser, pytest.mark.timeout(90)]

HEAR = """() => {
  window.heard = [];
  listen("/sse/news?client=page", ["said", "sse-open"], ({ type, data }) => {
    if (type === "said") heard.push(JSON.parse(data).text);
    else window.isOpen = true;
  });
}"""


def function() -> str:
    """Return the function in the document."""
    (found,) = [
        block.code
        for block in blocks(ROOT / "docs/clients.md", "js")
        if block.code.startswith("function listen(")
    ]
    assert len(found.strip().splitlines()) == 8, "the page says eight"
    return found


async def until_heard(page: Page, *texts: str) -> None:
    """Wait until the page has heard these texts and no others."""
    await page.wait_for_function("number => heard.length >= number", arg=len(texts))
    assert await page.evaluate("heard") == list(texts)


async def test_plain_lines_survive_kills_and_502_and_obey_the_end(
    redis: RedisServer, browser: Browser
) -> None:
    """Each event is heard once, whatever failed when it was published."""
    page = await browser.new_page()  # which logs what fails, each browser in words of its own
    async with serving(redis) as server:
        await page.goto(f"http://127.0.0.1:{server.port}/")
        await page.add_script_tag(content=function())
        await page.evaluate(HEAR)
        await page.wait_for_function("window.isOpen")
        await server.post("/publish/zero")
        await until_heard(page, "zero")
        await kill(server)
        await publish(redis, "one")
        async with bad_gateway(server.port) as asked:
            await until_so(lambda: _is(asked == {"page"}))
        async with serving(redis, server.port) as again:
            await until_heard(page, "zero", "one")
            await kill(again)
            await publish(redis, "two")
            async with serving(redis, server.port) as third:
                await until_heard(page, "zero", "one", "two")
                await third.post("/publish/three")
                await until_heard(page, "zero", "one", "two", "three")
                number = (await third.get_json("/asked"))["page"]
                await page.evaluate("""() => {
                    const { close } = EventSource.prototype;
                    window.endings = 0;
                    EventSource.prototype.close = function () {
                        window.endings++;
                        close.call(this);
                    };
                }""")
                await third.post("/end")
                await page.wait_for_function("endings === 1")
                assert (await third.get_json("/asked"))["page"] == number


async def _is(value: bool) -> bool:
    return value
