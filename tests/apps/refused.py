"""Pages of which a part is refused, for tests with browsers."""

import os

from quart import Quart, Response, render_template_string, request

from quart_sse import SSE

app = Quart(__name__)
app.debug = "DEBUG" in os.environ
app.secret_key = "for tests only"
sse = SSE(app)
hall = sse.channel("hall", "/hall", public=True)
vault = sse.channel("vault", "/vault/<int:number>")
inside = sse.channel("inside", "/inside")
numbers = {"shown": 0}
open_vaults = {1, 2}
may_enter = {"inside": True}

PAGE = """{% from "quart_sse/macros.html" import
    sse_scripts, sse_status, sse_fragment, sse_live, sse_connect %}
<!doctype html><html lang="en"><head><title>Vaults</title>{{ sse_scripts(htmx=htmx) }}</head><body>
{{ sse_status() }}<script>
window.told = [];
document.addEventListener("sse:refused", ({ detail }) => told.push(detail));
window.states = [];
for (const state of ["connecting", "open", "partial", "retry", "stopped"])
    document.addEventListener(`sse:${state}`, () => states.push(state));
QuartSSE.onconnect = () => states.push("(on)");
QuartSSE.ondisconnect = () => states.push("(off)");
</script>"""
ONE = "{{ sse_connect() }}"
FRAGMENTS = (
    """{{ sse_fragment("hall.number") }}{{ sse_fragment("vault.number", number=1) }}
{{ sse_fragment("vault.number", number=2) }}{{ sse_fragment("hall.around") }}"""
    + ONE
)
LIVE = (
    """{{ sse_live("hall.number") }}{{ sse_fragment("vault.number", number=1) }}
{{ sse_fragment("hall.around") }}"""
    + ONE
)


@vault.authorize
def may_open(number: int) -> bool:
    """Let clients into the vaults that are open."""
    return number in open_vaults


@inside.authorize
def may_look() -> bool:
    """Let clients look at what is inside of another fragment."""
    return may_enter["inside"]


@hall.fragment("number", debounce=0)
@vault.fragment("number", debounce=0)
@inside.fragment("number", debounce=0)
async def show(number: int = 0) -> str:
    """Show a number."""
    return f"<b>{numbers['shown']}</b>"


@hall.fragment("around", debounce=0, includes=["inside.number"])
async def around() -> str:
    """Show a number of another channel."""
    return await render_template_string(
        '{% from "quart_sse/macros.html" import sse_fragment %}{{ sse_fragment("inside.number") }}'
    )


@app.get("/")
async def page() -> str:
    """Show the hall and two vaults, over one connection."""
    return await render_template_string(PAGE + FRAGMENTS, htmx="plain" not in request.args)


@app.get("/live")
async def live() -> str:
    """Show them over two connect elements."""
    return await render_template_string(PAGE + LIVE, htmx="plain" not in request.args)


@app.post("/vaults/<text>")
async def let_in(text: str) -> Response:
    """Open these vaults and no others ("0" for none), and judge all clients again."""
    open_vaults.clear()
    open_vaults.update(map(int, text.split(",")))
    await sse.recheck(hall.topic())
    return Response(status=204)


@app.post("/inside/<state>")
async def enter(state: str) -> Response:
    """Let clients look inside, or no more."""
    may_enter["inside"] = state == "open"
    await sse.recheck(hall.topic())
    return Response(status=204)


@app.post("/close/<int:number>")
async def close(number: int) -> Response:
    """Take a vault off all connections."""
    await vault.topic(number=number).close()
    return Response(status=204)


@app.post("/count/<int:number>")
async def count(number: int) -> Response:
    """Change what is shown."""
    numbers["shown"] = number
    for topic in (hall.topic(), vault.topic(number=1), vault.topic(number=2)):
        await topic.refresh()
    return Response(status=204)
