"""Make the pictures of the README from the running example.

    python scripts/screenshot.py [NAME ...]

Writes `docs/screenshot-discussion.png`, where two people look at one discussion and a comment has
just arrived, one each of the `dashboard`, the `board`, the `reports` and the `inspector`, and the
header in its `states`; or only those that are named. It starts the example on a free port with a
database of its own, and drives the Chromium that is on the PATH through Playwright.
"""

import asyncio
import base64
import os
import re
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
MOST_BYTES = 250_000  # of one picture, so that the README opens fast

CHROMIUM_ARGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
DESKTOP = ViewportSize(width=780, height=1000)
PHONE = ViewportSize(width=390, height=1000)
SCALE = 1.25
SHRINK = 0.66  # of windows on the sheet, whose pixels stay as sharp

#: Scrolls until an element and a little more is seen.
TO_END = """element => {
    element.scrollIntoView({block: "end", behavior: "instant"});
    scrollBy({top: 24, behavior: "instant"});
}"""

#: Whether the stream of a page is open.
OPEN = "() => document.documentElement.dataset.sseState === 'open'"

#: Shows the state of a page of which a part is refused, as quart-sse.js does.
PARTIAL = """() => {
    document.documentElement.dataset.sseState = "partial";
    for (const text of document.querySelectorAll("[data-sse-status] > *"))
        text.hidden = text.dataset.state !== "partial";
}"""

#: Shows pictures of windows side by side; each gets a frame and a caption.
SHEET = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; display: inline-flex; gap: 20px; padding: 16px 20px 20px; align-items: flex-end;
       background: #dfe7df; font: 600 13px system-ui, sans-serif; color: #33423a; }}
figure {{ margin: 0; }}
figcaption {{ padding: 0 4px 8px; }}
img {{ display: block; border-radius: 9px; border: 1px solid #b9c6bb; }}
</style>{figures}"""
FIGURE = """<figure><figcaption>{caption}</figcaption>
<img width="{width}" src="data:image/png;base64,{data}" alt=""></figure>"""


#: Reads the pixels of a picture, as numbers of the colours in a palette of at most 256.
REDUCE = """async data => {
    const image = new Image();
    image.src = `data:image/png;base64,${data}`;
    await image.decode();
    const {width, height} = image;
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);

    const seen = new Map();
    for (const pixel of pixels) seen.set(pixel, (seen.get(pixel) || 0) + 1);
    const split = colour => [colour & 255, colour >> 8 & 255, colour >> 16 & 255];
    const apart = (a, b) => a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0);
    const colours = [...seen].map(([pixel, count]) =>
        ({pixel, count, parts: split(pixel), error: 1e9, number: 0}));
    const palette = [];
    while (palette.length < 256) {
        // What is seen most, and looks least like what has been chosen.
        const worst = (a, b) => b.count * b.error > a.count * a.error ? b : a;
        const next = colours.reduce(worst);
        if (!next.error) break;
        for (const colour of colours) {
            const error = apart(colour.parts, next.parts);
            if (error < colour.error) Object.assign(colour, {error, number: palette.length});
        }
        palette.push(next.parts);
    }
    const numbers = new Map(colours.map(colour => [colour.pixel, colour.number]));

    let text = "";
    for (const pixel of pixels) text += String.fromCharCode(numbers.get(pixel));
    return {width, height, palette: palette.flat(), pixels: btoa(text)};
}"""


async def reduce(browser: Browser, png: bytes) -> bytes:
    """Return a picture with at most 256 colours, which takes a fraction of the bytes."""
    page = await browser.new_page()
    found = await page.evaluate(REDUCE, base64.b64encode(png).decode())
    await page.close()
    width, height, pixels = found["width"], found["height"], base64.b64decode(found["pixels"])
    lines = b"".join(b"\0" + pixels[at : at + width] for at in range(0, len(pixels), width))

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    # See https://www.w3.org/TR/png-3/#11Chunks: 8 bits for a pixel, which is a palette's number.
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"PLTE", bytes(found["palette"])),
            chunk(b"IDAT", zlib.compress(lines, 9)),
            chunk(b"IEND", b""),
        )
    )


@asynccontextmanager
async def example(folder: str) -> AsyncIterator[str]:
    """Serve the example until the block ends; yields its address."""
    environ = {
        **os.environ,
        "PORT": "0",
        "EXAMPLE_DATABASE": f"{folder}/forum.sqlite3",
        # Swaps by morphing are smoother to take pictures of.
        "QUART_SSE_HTMX": "4",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "example"), cwd=ROOT, env=environ, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            line = (await process.stdout.readline()).decode()
        yield next(word for word in line.split() if word.startswith("http"))
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def window(
    browser: Browser, url: str, nickname: str, size: ViewportSize, is_dark: bool = False
) -> AsyncIterator[Page]:
    """Open a page in a window of its own, as somebody who is signed in, and wait for its stream."""
    parts = urlsplit(url)
    context = await browser.new_context(
        viewport=size,
        device_scale_factor=SCALE,
        color_scheme="dark" if is_dark else "light",
        # Keeps the highlight of what is new, which otherwise fades while the picture is taken.
        reduced_motion="reduce",
    )
    page = await context.new_page()
    await page.goto(f"{parts.scheme}://{parts.netloc}/sign-in?next={parts.path}")
    await page.click(f"form.sign-in button[value={nickname}]")
    await page.wait_for_function(OPEN)
    yield page
    await context.close()


async def say(page: Page, text: str) -> None:
    """Post a comment as a person would."""
    await page.fill("#comment-form textarea[name=text]", text)
    await page.click("#comment-form button[type=submit]")


async def picture(page: Page) -> str:
    """Return what a window shows, for the sheet."""
    return base64.b64encode(await page.screenshot()).decode()


async def put_together(browser: Browser, sheet: str, figures: Sequence[str], scale: float) -> bytes:
    """Return the picture of a sheet with several windows on it."""
    context = await browser.new_context(device_scale_factor=scale)
    page = await context.new_page()
    await page.set_content(sheet.format(figures="".join(figures)))
    taken = await page.locator("body").screenshot()
    await context.close()
    return taken


async def take_discussion(browser: Browser, address: str) -> bytes:
    """Two windows on one discussion, the moment after a comment was posted in one of them."""
    url, text = (
        f"{address}/discussion/4",
        "One evening it is. Send a photo of the first shaving!",
    )
    async with (
        window(browser, url, "pell", DESKTOP) as reader,
        window(browser, url, "mira", PHONE, is_dark=True) as writer,
    ):
        # Those who were at the sign-in page just before count a little longer.
        for page in (reader, writer):
            await expect(page.locator("#online")).to_contain_text("2", timeout=15_000)
        await say(writer, text)
        await expect(reader.get_by_text(text)).to_be_visible()
        await expect(reader.locator("#replies.has-news")).to_be_visible()
        comment = await reader.locator(".comment", has_text=text).bounding_box()
        assert comment is not None
        height = int(comment["y"] + comment["height"]) + 24
        await reader.set_viewport_size({**DESKTOP, "height": height})
        await writer.locator("#comment-form").evaluate(TO_END)
        shots = await asyncio.gather(picture(reader), picture(writer))

    figures = [
        FIGURE.format(caption=caption, data=shot, width=size["width"] * SHRINK)
        for caption, shot, size in (
            ("pell, who is only reading", shots[0], DESKTOP),
            ("mira, who has just posted", shots[1], PHONE),
        )
    ]
    return await put_together(browser, SHEET, figures, SCALE / SHRINK)


async def take_dashboard(browser: Browser, address: str) -> bytes:
    """The dashboard, while others are about."""
    size = ViewportSize(width=1040, height=760)
    async with (
        window(browser, f"{address}/discussion/1", "juno", DESKTOP),
        window(browser, f"{address}/discussion/2", "kip", DESKTOP),
        window(browser, f"{address}/dashboard", "hazel", size) as page,
    ):
        await expect(page.locator("#tile-people .number")).to_have_text("3", timeout=15_000)
        return await page.screenshot(full_page=True)


async def take_board(browser: Browser, address: str) -> bytes:
    """The board, the moment after somebody has taken a card."""
    url, size = f"{address}/board", ViewportSize(width=1040, height=600)
    async with (
        window(browser, url, "wren", size) as taker,
        window(browser, url, "kip", DESKTOP),
        window(browser, url, "mira", size) as page,
    ):
        for count in ("#people", "#online"):
            await expect(page.locator(count)).to_have_text("3", timeout=15_000)
        await taker.click('.board-card:has-text("Write down") >> text="Take it"')
        await expect(page.locator(".is-fresh", has_text="Write down")).to_be_visible()
        return await page.screenshot(full_page=True)


async def take_reports(browser: Browser, address: str) -> bytes:
    """A report, while it is being built."""
    async with window(browser, f"{address}/reports", "juno", {**DESKTOP, "height": 600}) as page:
        await page.click("#build")
        await expect(page.locator("#state")).to_contain_text("Step 6", timeout=15_000)
        return await page.screenshot(full_page=True)


async def take_states(browser: Browser, address: str) -> bytes:
    """The header while the page is live, also in part, comes back, and has stopped."""
    size = ViewportSize(width=1000, height=58)
    async with window(browser, f"{address}/discussion/1", "mira", size) as page:
        live = await picture(page)
        await page.evaluate(PARTIAL)  # the example refuses no part of a page
        partial = await picture(page)
        # A page has no other way to lose a stream that it does not hold itself.
        await page.add_init_script("delete window.SharedWorker")
        await page.reload()
        await page.wait_for_function(OPEN)
        await page.context.set_offline(True)
        await page.evaluate("() => { QuartSSE.disconnect(); QuartSSE.connect(); }")
        await page.wait_for_function("() => document.documentElement.dataset.sseState === 'retry'")
        retry = await picture(page)
        await page.evaluate("() => QuartSSE.disconnect()")
        shots = (live, partial, retry, await picture(page))

    captions = (
        *("Live", "A part of the page is refused"),
        *("The server is away", "Given up, or without JavaScript"),
    )
    figures = [
        FIGURE.format(caption=caption, data=shot, width=size["width"])
        for caption, shot in zip(captions, shots, strict=True)
    ]
    return await put_together(browser, SHEET.replace("inline-flex", "inline-grid"), figures, SCALE)


async def take_inspector(browser: Browser, address: str) -> bytes:
    """The inspector's overview on a desktop, and its list of connections on a phone in the dark."""
    pages, size = f"{address}/sse/~inspector", ViewportSize(width=1080, height=860)
    small = ViewportSize(width=390, height=860)
    async with (
        window(browser, f"{address}/discussion/4", "pell", PHONE) as reader,
        window(browser, f"{address}/discussion/1", "juno", DESKTOP),
        window(browser, f"{address}/board", "mira", DESKTOP),
        window(browser, pages, "hazel", size) as desktop,
        window(browser, f"{pages}/connections", "tobi", small, is_dark=True) as phone,
    ):
        places = desktop.locator(".charts li").first.locator("path.line")
        for number in range(8):  # what moves in the charts
            await say(reader, f"Shaving {number + 1}")
            await expect(reader.get_by_text(f"Shaving {number + 1}", exact=True)).to_be_visible()
            await expect(places).to_have_attribute("d", re.compile(rf"(L[^L]*){{{number + 1}}}"))
        await expect(phone.locator("main tbody tr")).to_have_count(5, timeout=15_000)
        shots = await asyncio.gather(picture(desktop), picture(phone))

    figures = [
        FIGURE.format(caption=caption, data=shot, width=each["width"] * SHRINK)
        for caption, shot, each in (
            ("Overview", shots[0], size),
            ("Connections", shots[1], small),
        )
    ]
    return await put_together(browser, SHEET, figures, SCALE / SHRINK)


PICTURES = {
    "discussion": take_discussion,
    "dashboard": take_dashboard,
    "board": take_board,
    "reports": take_reports,
    "states": take_states,
    "inspector": take_inspector,
}


async def main(names: Sequence[str]) -> None:
    """Take the pictures of these names."""
    path = shutil.which("chromium")
    if path is None:
        sys.exit("Chromium is missing. On Debian and Ubuntu: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        async with example(folder) as address, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
            taken = {
                name: await reduce(browser, await PICTURES[name](browser, address))
                for name in names
            }
            await browser.close()
    for name, content in taken.items():
        target = DOCS / f"screenshot-{name}.png"
        target.write_bytes(content)
        print(f"{target.relative_to(ROOT)}: {len(content)} bytes")
        if len(content) > MOST_BYTES:
            sys.exit(f"{target.name} is larger than {MOST_BYTES} bytes.")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or list(PICTURES)))
