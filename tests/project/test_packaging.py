"""What is shipped: the vendored scripts are what the table says, and a wheel works by itself."""

import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from email.message import Message
from email.parser import BytesParser
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "static"
#: Sources of the scripts that pages load; the one for development is not minified.
SCRIPTS = sorted(
    path.stem for path in STATIC.glob("quart-sse*.js") if not path.stem.endswith((".min", "-debug"))
)
VENDORED: dict[str, dict[str, str]] = json.loads((STATIC / "vendor.json").read_text("utf-8"))

#: Run by the Python that has the wheel and nothing of this checkout. Prints one line of JSON.
PROBE = """
import asyncio, json, re
from html import unescape
from pathlib import Path

import quart_sse
from quart import Quart, render_template_string
from quart_sse import SSE

PAGE = '''
{% from "quart_sse/macros.html" import sse_scripts, sse_fragment, sse_connect %}
<head>{{ sse_scripts() }}</head>
<body>{{ sse_fragment("news.latest", room=7) }}{{ sse_connect() }}</body>
'''

app = Quart(__name__)
app.secret_key = "only for this probe"
app.config["PROPAGATE_EXCEPTIONS"] = True  # a failure is seen here, not as a bare 500
sse = SSE(app)
news = sse.channel("news", "/news/<int:room>")


@news.fragment("latest")
async def latest(room):
    return f"<p>News of room {room}</p>"


@app.get("/")
async def page():
    return await render_template_string(PAGE)


async def main():
    async with app.test_app() as served:
        client = served.test_client()
        response = await client.get("/")
        html = await response.get_data(as_text=True)
        urls = [unescape(url) for url in re.findall(r'<script[^>]*[ ]src="([^"]+)"', html)]
        scripts = {url: (await client.get(url)).status_code for url in urls}
    print(json.dumps({
        "package": str(Path(quart_sse.__file__).parent),
        "typed": (Path(quart_sse.__file__).parent / "py.typed").is_file(),
        "status": response.status_code,
        "html": html,
        "scripts": scripts,
    }))


asyncio.run(main())
"""


def source_url() -> str:
    """Return the URL of the repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    url: str = project["urls"]["Source"]
    return url


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a program to its end and return what it printed; what it complained of, if it fails."""
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    """Return the wheel."""
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def metadata(wheel: Path) -> Message:
    """Return what the wheel says of itself; its payload is the README."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return BytesParser().parsebytes(archive.read(name))


@pytest.mark.parametrize("key", VENDORED)
def test_vendored_script_is_the_one_in_the_table(key: str) -> None:
    """Every vendored script has the digest that the table and the pages state."""
    entry = VENDORED[key]
    content = (STATIC / entry["file"]).read_bytes()

    digest = "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()

    assert digest == entry["integrity"]
    assert entry["file"] == f"vendor/{entry['name']}-{entry['version']}.min.js"


@pytest.mark.parametrize("name", SCRIPTS)
def test_minified_script_is_made_of_the_source(name: str) -> None:
    """Whoever changes the source runs `make script`."""
    source = hashlib.sha256((STATIC / f"{name}.js").read_bytes()).hexdigest()

    assert (STATIC / f"{name}.min.js").read_text("utf-8").endswith(f"\n//{source[:8]}\n")


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_small(name: str) -> None:
    """This is what goes over the wire, with a proxy that compresses."""
    # Which every page loads; the docs say 3.7 KB.
    most = {"quart-sse": 3695, "quart-sse-htmx": 1500, "quart-sse-morph": 2999}

    assert _gzipped(name) <= most.get(name, 3000)


@pytest.mark.parametrize(
    ("names", "most"),
    [
        (["quart-sse", "quart-sse-head"], 4_420),  # which block
        ([f"quart-sse{name}" for name in ("", "-head", "-sent", "-morph", "-htmx")], 10_400),
        (SCRIPTS, 18_600),
    ],
    ids=["blocking", "every page", "all"],
)
def test_scripts_together_are_small(names: list[str], most: int) -> None:
    """A page that needs these files loads no more than this."""
    assert sum(map(_gzipped, names)) <= most


def _gzipped(name: str) -> int:
    return len(gzip.compress((STATIC / f"{name}.min.js").read_bytes(), 9))


def test_tools_of_the_scripts_are_held_to_exact_versions() -> None:
    """The lock file has the versions of package.json, by digest, and names no registry."""
    tools = json.loads((ROOT / "package.json").read_text("utf-8"))["devDependencies"]
    locked = json.loads((ROOT / "package-lock.json").read_text("utf-8"))["packages"]

    assert locked.pop("")["devDependencies"] == tools
    for name, number in tools.items():
        assert locked[f"node_modules/{name}"]["version"] == number
    for package in locked.values():
        assert "integrity" in package
        assert "resolved" not in package


def test_fields_of_the_stream_keep_their_names_in_the_minified_script() -> None:
    """A field that was renamed would be read by nothing; the protocol's table has all of them."""
    protocol = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    fields = re.findall(r"^\| `(\w+): <", protocol, re.MULTILINE)
    script = (STATIC / "quart-sse.min.js").read_text("utf-8")
    receive = re.findall(r"\{(state:[^}]*)\}", script)

    assert set(fields) == {"key", "load", "token", "origin", "once", "for"}
    assert ".for" in script  # which the worker reads
    handed_on = set(fields) - {"for"}
    assert any(
        {"event", "data", "id", *handed_on} <= set(re.findall(r"(\w+):", names))
        for names in receive
    )


def test_vendored_scripts_are_all_in_the_table_with_a_licence() -> None:
    """Nothing lies in static/vendor but the table's scripts and their licence texts."""
    licenses = (STATIC / "vendor" / "LICENSES.txt").read_text("utf-8")

    files = {path.relative_to(STATIC).as_posix() for path in (STATIC / "vendor").iterdir()}

    scripts = {entry["file"] for entry in VENDORED.values()}
    copies = {f"{script}{suffix}" for script in scripts for suffix in (".br", ".gz")}
    assert files == scripts | copies | {"vendor/LICENSES.txt"}
    for entry in VENDORED.values():
        assert f"{entry['package']} {entry['version']} ({entry['license']})" in licenses


def test_wheel_carries_assets_inside_the_package(wheel: Path) -> None:
    """A wheel built from the sdist has every asset under quart_sse/; on top is the plugin alone."""
    names = set(zipfile.ZipFile(wheel).namelist())

    expected = {
        f"quart_sse/{folder}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder in ("templates", "static")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    assert expected
    assert expected <= names
    assert "quart_sse/py.typed" in names
    dist_info = f"quart_sse-{version('quart-sse')}.dist-info"
    assert {name.split("/")[0] for name in names} == {"quart_sse", "quart_sse_pytest.py", dist_info}


def test_wheel_brings_the_plugin_of_pytest(wheel: Path) -> None:
    """pytest finds it by this entry."""
    with zipfile.ZipFile(wheel) as archive:
        name = f"quart_sse-{version('quart-sse')}.dist-info/entry_points.txt"
        entries = archive.read(name).decode()

    assert "[pytest11]\nquart_sse_pytest = quart_sse_pytest" in entries


def test_wheel_carries_every_file_of_the_package(wheel: Path) -> None:
    """Data files beside the modules, such as Lua scripts, are in the wheel too."""
    names = set(zipfile.ZipFile(wheel).namelist())

    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "quart_sse").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert expected <= names


def test_release_page_takes_sdist_and_wheel(dist: Path) -> None:
    """What is uploaded has valid metadata, and a README that can be shown."""
    files = sorted(dist.iterdir())

    run(sys.executable, "-m", "twine", "check", "--strict", *files)

    assert [path.suffix for path in files] == [".whl", ".gz"]


def test_links_of_the_release_page_lead_to_files_of_that_release(metadata: Message) -> None:
    """The README's links and pictures work where no other file of the repository is."""
    text = metadata.get_payload(decode=True).decode("utf-8")  # type: ignore[union-attr]
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    base = f"{source_url()}/"
    inside = {link.removeprefix(base) for link in links if link.startswith(base)}
    release = f"v{version('quart-sse')}"

    assert all(link.startswith("https://") for link in links)
    assert any(link.startswith("raw/") for link in inside)
    for link in inside:
        kind, tag, path = link.split("/", 2)
        assert (kind, tag) == ("raw" if path.endswith(".png") else "blob", release)
        assert (ROOT / path).is_file(), path


def test_url_of_the_repository_is_the_same_everywhere() -> None:
    """A repository that moves is renamed in every file that names it."""
    base = re.escape(source_url())
    name = source_url().rpartition("/")[2]
    files = [
        *(ROOT / file for file in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
        ROOT / "pyproject.toml",
        *(path for path in (ROOT / ".github").rglob("*") if path.is_file()),
    ]

    for path in files:
        for url in re.findall(r"https://[^\s\"')>]+", path.read_text("utf-8")):
            if f"/{name}" in url:
                assert re.match(rf"{base}(?:[/#]|$)", url), f"{path.name}: {url}"


@pytest.mark.timeout(180)
def test_wheel_serves_a_page_and_its_scripts_by_itself(wheel: Path, tmp_path: Path) -> None:
    """Installed from the wheel alone, macros render and the scripts they name are served."""
    environment = tmp_path / "venv"
    # Without a pip of its own it is there at once; the one that runs the tests installs into it.
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    probe = elsewhere / "probe.py"
    probe.write_text(PROBE, "utf-8")

    # -I: neither PYTHONPATH nor the current folder can lead back to this checkout.
    printed = run(python, "-I", probe, cwd=elsewhere)

    seen = json.loads(printed.splitlines()[-1])
    assert Path(seen["package"]).is_relative_to(environment)
    assert seen["typed"]
    assert seen["status"] == 200
    assert "<p>News of room 7</p>" in seen["html"]
    assert seen["scripts"]
    assert set(seen["scripts"].values()) == {200}
