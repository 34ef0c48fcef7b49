"""Charts: small curves, drawn on the server as paths of SVG."""

from collections.abc import Sequence
from typing import NamedTuple

#: Size of a chart, in units of its own; the stylesheet decides how large one is.
WIDTH, HEIGHT = 240, 56
#: What stands for a number that there is not.
NONE = "\N{EN DASH}"
#: Room above the highest value.
_TOP = 4


class Chart(NamedTuple):
    """A curve that is ready to be written into a page."""

    title: str
    unit: str
    newest: float
    peak: float
    line: str  #: path of the curve
    area: str  #: path of what is below it
    span: str  #: what time it shows, in words

    @property
    def label(self) -> str:
        """What it shows, in words."""
        unit = f" {self.unit}" if self.unit else ""
        now, peak = short(self.newest), short(self.peak)
        return f"{self.title}: {now}{unit} now, at most {peak} in the last {self.span}"


def draw(
    title: str, unit: str, values: Sequence[float], places: int, span: str = "2 minutes"
) -> Chart:
    """Return a curve whose newest value is at the right edge.

    Args:
        title: What is counted.
        unit: Its unit.
        values: The values, oldest first, at most as many as there are places.
        places: How many values fill the chart.
        span: What time that is, in words.
    """
    peak = max(values, default=0.0)
    step = WIDTH / max(places - 1, 1)
    scale = (HEIGHT - _TOP) / peak if peak > 0 else 0.0
    points = [
        (WIDTH - step * (len(values) - 1 - place), HEIGHT - scale * max(value, 0.0))
        for place, value in enumerate(values)
    ]
    if not peak and points:  # a line needs no more than its ends, and most topics are quiet
        points = [points[0], points[-1]][: len(points)]
    line = " ".join(f"{'ML'[place > 0]}{x:.1f} {y:.1f}" for place, (x, y) in enumerate(points))
    area = f"{line} L{WIDTH:.1f} {HEIGHT} L{points[0][0]:.1f} {HEIGHT} Z" if points else ""
    return Chart(title, unit, values[-1] if values else 0.0, peak, line, area, span)


def short(number: float | None) -> str:
    """Return a number in few characters, such as ``12.5k``."""
    if number is None:
        return NONE
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= size:
            shown = number / (1e3 if unit == "k" else size)
            return f"{shown:.1f}{unit}" if shown < 100 else f"{shown:.0f}{unit}"
    return f"{number:.0f}" if number == int(number) or number >= 100 else f"{number:.1f}"


def ms(seconds: float | None) -> str:
    """Return a duration, such as ``12 ms``."""
    if seconds is None:
        return NONE
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{1000 * seconds:.1f} ms" if seconds < 0.01 else f"{1000 * seconds:.0f} ms"


def ago(seconds: float | None) -> str:
    """Return an age, such as ``3 min``."""
    if seconds is None:
        return NONE
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def size(number: float) -> str:
    """Return a number of bytes, such as ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return (
                f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
            )
        number /= 1024
    return f"{number:.1f} GiB"
