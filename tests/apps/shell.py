"""An app beside which commands of a shell run: ``quart --app tests.apps.shell:app sse ...``."""

from quart import Quart

from quart_sse import SSE
from quart_sse.cli import sse as commands

app = Quart(__name__)
app.secret_key = "for tests only"
sse = SSE(app)
rooms = sse.channel("rooms", "/rooms/<int:room>", public=True)
news = sse.channel("news", "/news", history=0)
# As the entry point in pyproject.toml does where the package is installed.
app.cli.add_command(commands)


@rooms.fragment("list")
def room_list(room: int) -> str:
    """Render a list."""
    return ""


@app.before_serving
def begin() -> None:
    """Tell on a command that would serve."""
    print("The app serves.")  # noqa: T201 - a test looks for it
