"""Write docs/reference.md from the docstrings, the settings and the macros.

    python scripts/reference.py            # as `make docs` does
    python scripts/reference.py --print    # prints it, for the test that compares

Docstrings have Google's sections (Args, Returns, Raises, Example) and references of Sphinx. What
they say about a public name stands here as they say it; to change it, change the docstring.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the tree that this script is part of, whatever is installed

import quart_sse  # noqa: E402 - it is found only now
import quart_sse.testing  # noqa: E402
from quart_sse.config import PREFIX, Config  # noqa: E402
from quart_sse.pages.macros import Macros  # noqa: E402
from quart_sse.pages.notifications import Notifications  # noqa: E402
from quart_sse.pages.scripts import Scripts  # noqa: E402

TARGET = ROOT / "docs" / "reference.md"
MACROS = ROOT / "templates" / "quart_sse" / "macros.html"
WIDTH = 100

#: Heading -> the public names below it; errors follow by themselves.
GROUPS = {
    "The extension": ["SSE"],
    "Channels and topics": ["Channel", "Topic", "Target", "User", "Everyone", "WholeChannel"],
    "Events and results": [
        *("Event", "EventType", "Published", "Notification", "KeptEvent", "Presence", "Person"),
    ],
    "Streams of one client": ["OwnStream", "BlockingOwnStream"],
    "Connections": [
        *("Registry", "ConnectionHandle", "Ending", "ProcessList", "Process"),
        *("Found", "ConnectionInfo", "Counted"),
    ],
    "Monitoring": ["Stats", "Took", "CollectedStats", "Metrics"],
    "Publishing from other processes": [
        *("Publisher", "PublisherTopic", "PublisherTarget", "PublisherChannel"),
        *("AsyncPublisher", "AsyncPublisherTopic", "AsyncPublisherTarget"),
        *("AsyncPublisherChannel", "ChannelRecord"),
    ],
    "Logging": ["HideTokens"],
}
#: Public names of ``quart_sse.testing``, in their order on the page.
FOR_TESTS = [
    *("live", "LivePage", "ReceivedEvent", "LivePages", "capture", "Captured"),
    *("CapturedEvent", "CapturedFragment", "CapturedNotification", "until_live"),
]
#: Listed elsewhere on the page.
ELSEWHERE = {"Broker", "Config"}
#: Macro -> the function behind it, whose docstring has the arguments.
BEHIND: dict[str, Callable[..., Any]] = {
    "sse_scripts": Scripts.elements,
    "sse_fragment": Macros.fragment,
    "sse_live": Macros.live,
    "sse_connect": Macros.connect,
    "sse_event": Macros.event,
    "sse_notifications": Notifications.region,
    "sse_seen": Macros.seen,
    "sse_item": Macros.item,
    "sse_stream": Macros.stream,
}

HEAD = """\
# Reference

Every public name, macro and setting, as its docstring describes it. `make docs` writes this page;
the [guide](guide.md) explains how they go together, and [stability.md](stability.md) what may
change.

"""
FUNCTIONS = """\
Functions that you register (renderers, `authorize`, `@sse.identity`) may be sync or async; sync
ones run in a thread, but those of `refresh_on`, which are called at once. The
[gate](security.md#the-gate) is what decides whether a client may listen.
"""
ERRORS = """\
All errors are `SSEError`s, and each message names the faulty thing and the remedy.
"""
BROKERS = """\
**Provisional until 1.0.** You need it only to bring a broker of your own: `SSE(app, broker=...)`.
"""
TESTING = """\
From `quart_sse.testing`; [testing.md](testing.md) shows how they go together. `live_page` is a
fixture of the pytest plugin, which is installed with the package.
"""
SETTINGS = """\
Each is a key of `app.config`, else an environment variable of the same name, read once by
`SSE(app)` or `sse.init_app(app)`. [configuration.md](configuration.md) says more about each.

| key | default | unit | valid values | meaning |
|---|---|---|---|---|
"""
IMPORTED = """\
From `quart_sse/macros.html`, imported with or without context.

| macro | |
|---|---|
"""

SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Example):")


def inline(text: str) -> str:
    """Return a text with the markup of Sphinx as Markdown, in one line."""
    text = re.sub(
        r":\w+:`~?([^`]+)`", lambda found: f"`{found[1].rpartition('quart_sse.')[2]}`", text
    )
    text = re.sub(r"`(?:\w+\.)+([A-Z]\w+)`", r"`\1`", text)
    return " ".join(text.replace("``", "`").split())


def sections(doc: str) -> dict[str, str]:
    """Return section -> text of a docstring; "" is what stands above them."""
    found, name = {"": ""}, ""
    for line in doc.splitlines():
        heading = SECTION.fullmatch(line)
        if heading:
            name = heading[1]
            found[name] = ""
        else:
            found[name] += line + "\n"
    return {name: textwrap.dedent(text).strip() for name, text in found.items()}


def items(text: str) -> Iterator[str]:
    """Yield the items of a section such as Args as lines of a Markdown list."""
    for item in re.split(r"\n(?=\S)", text):
        name, _, meaning = item.partition(":")
        yield f"- `{name}`: {inline(meaning)}"


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a text, wrapped."""
    for paragraph in text.split("\n\n"):
        yield textwrap.fill(inline(paragraph), 120, break_on_hyphens=False, break_long_words=False)


def example(text: str, *, runs: bool) -> Iterator[str]:
    """Yield an example: blocks of code, and the sentences between them.

    Args:
        text: The section.
        runs: Whether code that stands alone is shown as a block, which the tests run.
    """
    alone = re.fullmatch(r"``([^`]+)``", text)
    if alone and runs:
        yield f"```python\n{alone[1]}\n```"
        return
    # A block ends at the first line that is not indented.
    for part in re.split(r"\.\. code-block:: python\n((?:\n| .*(?:\n|$))+)", text):
        if part.startswith((" ", "\n")) and part.strip():
            # Two blank lines around a function, as ruff formats code in Markdown, too.
            code = textwrap.dedent(part).strip()
            code = re.sub(r"\n\n(?=@|def |async def |class )", "\n\n\n", code)
            code = re.sub(r"(\n +[^\n]*\n\n)(?=\w)", r"\1\n", code)
            yield f"```python\n{code}\n```"
        elif part.strip():
            yield from paragraphs(part.strip() if runs else f"Example: {part.strip()}")


def described(doc: str, *, runs: bool = True, is_macro: bool = False) -> Iterator[str]:
    """Yield what a docstring says, as Markdown."""
    parts = sections(doc)
    # The table of macros says in one sentence what the first one here says.
    head = parts[""].partition("\n\n")[2] if is_macro else parts[""]
    if head:
        yield from paragraphs(head)
    for name in ("Args", "Attributes"):
        if name in parts:
            if name == "Attributes":
                yield "Attributes:"
            yield "\n".join(items(parts[name]))
    if "Returns" in parts and not is_macro:
        yield from paragraphs("Returns: " + parts["Returns"])
    if "Raises" in parts:
        yield "Raises:"
        yield "\n".join(items(parts["Raises"]))
    if "Example" in parts:
        yield from example(parts["Example"], runs=runs)


def signature(name: str, function: Callable[..., Any]) -> str:
    """Return how a function is called, one argument a line where it is long."""
    source = textwrap.dedent(inspect.getsource(function))
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    positional = node.args.posonlyargs or node.args.args
    if positional and positional[0].arg in {"self", "cls"}:
        del positional[0]
    returns = "" if node.returns is None else f" -> {ast.unparse(node.returns)}".replace("'", "")
    start = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    if name.endswith("__init__"):
        name, returns = name.removesuffix(".__init__"), ""
    # All arguments are annotated, and unparse() leaves the spaces out.
    arguments = ast.unparse(node.args).replace("'", '"').replace("=", " = ")
    return fitted(f"{start}{name}", arguments, returns)


def fitted(start: str, arguments: str, end: str) -> str:
    """Return a call as a block, within the width of the page."""
    line = f"{start}({arguments}){end}"
    if len(line) > WIDTH:
        inside = re.sub(r", (?=[\w*]+(?::|,|$)|\*)", ",\n    ", arguments)
        line = f"{start}(\n    {inside},\n){end}"
    return f"```text\n{line}\n```"


def members(owner: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class, in the order of its source.

    Those of its bases come first, unless a base has a section of its own.
    """
    for each in reversed(owner.__mro__):
        is_inner = (
            each.__module__.startswith("quart_sse") and each.__name__ not in quart_sse.__all__
        )
        if each is not owner and not is_inner:
            continue
        for name, member in vars(each).items():
            is_method = inspect.isfunction(member) or isinstance(member, property)
            if is_method and not name.startswith("_"):
                yield name, member


def of_function(function: Callable[..., Any]) -> Iterator[str]:
    """Yield the section of a function."""
    yield f"### {function.__name__}"
    # What a decorator wraps is what is called.
    yield signature(function.__name__, inspect.unwrap(function))
    yield from described(inspect.getdoc(function) or "", runs=False)


def of_class(owner: type, *, runs: bool = True) -> Iterator[str]:
    """Yield the section of a class, with those of its methods.

    Args:
        owner: The class.
        runs: As for :func:`example`.
    """
    yield f"### {owner.__name__}"
    doc = inspect.getdoc(owner) or ""
    if "\nArgs:" in doc:
        made = vars(owner)["__init__"]
        if hasattr(owner, "__dataclass_fields__"):
            arguments = str(inspect.signature(owner))
            yield fitted(owner.__name__, arguments[1 : arguments.rindex(")")], "")
        else:
            yield signature(f"{owner.__name__}.__init__", made)
    yield from described(doc, runs=runs)
    name = owner.__name__.lower()
    for method, member in members(owner):
        yield f"#### {owner.__name__}.{method}"
        if inspect.isfunction(member):
            yield signature(f"{name}.{method}", member)
        yield from described(inspect.getdoc(member) or "", runs=runs)


def of_error(owner: type) -> Iterator[str]:
    """Yield the section of an error."""
    yield f"### {owner.__name__}"
    bases = [base.__name__ for base in owner.__bases__ if base is not Exception]
    doc = inspect.getdoc(owner) or ""
    if bases:
        # The last sentence of what stands above all sections.
        head, blank, rest = doc.partition("\n\n")
        doc = f"{head} Subclass of {' and '.join(f'``{base}``' for base in bases)}.{blank}{rest}"
    yield from described(doc, runs=False)


def settings() -> Iterator[str]:
    """Yield the rows of the table of keys."""
    source = inspect.getsource(Config)
    meanings: dict[str, str] = {}
    comment = ""
    for line in source.splitlines():
        text = re.fullmatch(r" *#: ?(.*)", line)
        field = re.match(r"    (\w+): .* = _key\(", line)
        if text:
            comment += text[1] + "\n"
        elif field:
            meanings[field[1]], comment = inline(comment), ""
    for each in fields(Config):
        expected = each.metadata["expected"]
        unit = re.search(r"number of (\w+)", expected)
        words = unit[1] if unit else "number" if isinstance(each.default, int) else "text"
        default = each.default
        if isinstance(default, float):
            default = f"{default:g}"
        shown = f"`{default}`" if default not in (None, ()) else "none"
        key = PREFIX + each.name.upper()
        assert meanings[each.name], f"{each.name} has no comment"
        yield f"| `{key}` | {shown} | {words} | {expected} | {meanings[each.name]} |"


def macros() -> Iterator[tuple[str, str, str, str]]:
    """Yield name, arguments, meaning and example of every macro."""
    for comment, name, rest in re.findall(
        r"\{#-((?:(?!#\}).)*?)-#\}\n\{%-? (?:macro|set) (sse_\w+)((?:(?!\{#).)*)",
        MACROS.read_text("utf-8"),
        re.DOTALL,
    ):
        given = re.match(r"\((.*?)\) -?%\}", rest)
        arguments = given[1] if given else "name, everyone=false, **params"
        if "kwargs" in rest:
            arguments += ", **params"
        meaning, _, shown = comment.partition("{{ sse_")
        meaning = re.sub(r"(<\w+>|\w+=(?:\[.*?\]|\".*?\"|\w+))", r"`\1`", inline(meaning))
        yield name, arguments, meaning, textwrap.dedent("    {{ sse_" + shown).strip()


def page() -> str:
    """Return the whole page.

    Raises:
        SystemExit: If a public name has no place on it.
    """
    errors = [
        name
        for name in quart_sse.__all__
        if isinstance(getattr(quart_sse, name), type)
        and issubclass(getattr(quart_sse, name), Exception)
    ]
    errors.sort(key=lambda name: (name != "SSEError", name))
    placed = {name for names in GROUPS.values() for name in names} | set(errors) | ELSEWHERE
    if placed != set(quart_sse.__all__):
        raise SystemExit(f"scripts/reference.py lacks {placed ^ set(quart_sse.__all__)}")

    parts: list[str] = []
    for heading, names in GROUPS.items():
        parts.append(f"## {heading}")
        if "SSE" in names:
            parts.append(FUNCTIONS.strip())
        for name in names:
            parts.extend(of_class(getattr(quart_sse, name)))
    table = list(macros())
    rows = [f"| `{name}({taken})` | {meaning} |" for name, taken, meaning, _ in table]
    parts += ["## Macros", IMPORTED + "\n".join(rows)]
    for name, _, _, shown in table:
        parts.append(f"### {name}")
        if name in BEHIND:
            parts.extend(described(inspect.getdoc(BEHIND[name]) or "", is_macro=True))
        parts.append(f"```text\n{shown}\n```")
    parts += ["## For tests", TESTING.strip()]
    if set(FOR_TESTS) != set(quart_sse.testing.__all__):
        raise SystemExit(
            f"scripts/reference.py lacks {set(FOR_TESTS) ^ set(quart_sse.testing.__all__)}"
        )
    for name in FOR_TESTS:
        member = getattr(quart_sse.testing, name)
        is_class = isinstance(member, type)
        parts.extend(of_class(member, runs=False) if is_class else of_function(member))
    parts += ["## Settings", SETTINGS + "\n".join(settings())]
    parts += ["## Errors", ERRORS.strip()]
    for name in errors:
        parts.extend(of_error(getattr(quart_sse, name)))
    parts += ["## Brokers", BROKERS.strip(), *of_class(quart_sse.Broker)]
    contents = " ·\n".join(
        f"[{part[3:]}](#{part[3:].lower().replace(' ', '-')})"
        for part in parts
        if part.startswith("## ")
    )
    return HEAD + "\n\n".join([contents, *parts]) + "\n"


def main() -> None:
    """Write the page, or print it."""
    if sys.argv[1:] == ["--print"]:
        print(page(), end="")
    else:
        TARGET.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
