"""The geometry of the dashboard's chart: numbers only, `_chart.html` draws them.

Widths are in percent and heights in pixels, so that the drawing follows the width of the page while
its text keeps its size; a `viewBox` would shrink both on a phone.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from example.models import Activity

TOP, HEIGHT = 14.0, 200.0  # of the plot, in pixels
GAP = 0.24  # of a bar's share of the width


@dataclass(frozen=True, slots=True)
class Span:
    """A period and how it is cut into bars."""

    title: str
    bars: int
    seconds: int  # of one bar
    unit: str
    units: int  # in one bar


SPANS = {
    "hour": Span("Last hour", bars=30, seconds=120, unit="min", units=2),
    "day": Span("Last day", bars=24, seconds=3600, unit="h", units=1),
}
MARKS = 4  # parts of the time axis


@dataclass(frozen=True, slots=True)
class Bar:
    x: float  # percent
    width: float  # percent
    comments: int
    votes: int
    comments_y: float
    comments_height: float
    votes_y: float
    votes_height: float
    when: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A label on an axis."""

    at: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Chart:
    bars: list[Bar]
    values: list[Mark]
    times: list[Mark]
    comments: int
    votes: int
    bottom: float = TOP + HEIGHT


def draw(happened: Iterable[Activity], span: Span, now: float) -> Chart:
    """Count activity into the span's bars; the last bar is the current one."""
    last = int(now // span.seconds)
    counts = Counter((last - int(item.created // span.seconds), item.kind) for item in happened)
    ages = range(span.bars - 1, -1, -1)
    highest = max(counts[age, "comment"] + counts[age, "vote"] for age in ages)
    step = _step(highest)
    top = step * max(2, -(-highest // step))
    scale = HEIGHT / top
    share = 100 / span.bars

    bars = []
    for place, age in enumerate(ages):
        comments, votes = counts[age, "comment"], counts[age, "vote"]
        votes_y = TOP + HEIGHT - votes * scale
        bars.append(
            Bar(
                x=round((place + GAP / 2) * share, 3),
                width=round((1 - GAP) * share, 3),
                comments=comments,
                votes=votes,
                comments_y=round(votes_y - comments * scale, 2),
                comments_height=round(comments * scale, 2),
                votes_y=round(votes_y, 2),
                votes_height=round(votes * scale, 2),
                when=f"{age * span.units} {span.unit} ago" if age else "now",
            )
        )
    return Chart(
        bars=bars,
        values=[
            Mark(round(TOP + HEIGHT - value * scale, 2), str(value))
            for value in range(0, top + 1, step)
        ],
        times=_times(span),
        comments=sum(bar.comments for bar in bars),
        votes=sum(bar.votes for bar in bars),
    )


def _step(highest: int) -> int:
    """Return the distance of the grid lines: 1, 2, 5, 10, ... so that there are at most five."""
    step, factors = 1, (2, 2.5, 2)
    turn = 0
    while highest > step * 4:
        step = int(step * factors[turn % 3])
        turn += 1
    return step


def _times(span: Span) -> list[Mark]:
    whole = span.bars * span.units
    marks = [
        Mark(100 * part / MARKS, f"{whole - whole * part // MARKS} {span.unit}", "middle")
        for part in range(1, MARKS)
    ]
    return [Mark(0, f"{whole} {span.unit}"), *marks, Mark(100, "now", "end")]


@dataclass(frozen=True, slots=True)
class Rect:
    x: float  # percent
    width: float  # percent
    y: float
    height: float
    value: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Values of the last while, the newest at the right."""

    title: str
    unit: str
    bars: list[Rect]
    values: list[Mark]
    times: list[Mark]
    newest: float
    bottom: float


LOW = 90.0  # height of the plot of a curve, in pixels


def draw_curve(title: str, unit: str, values: list[float], places: int, span: str) -> Curve:
    """Draw values as bars.

    Args:
        title: What they are.
        unit: Their unit.
        values: The values, the newest last.
        places: Room for so many.
        span: How long ago the first place was.
    """
    values = values[-places:]
    step = _step(int(max(values, default=0)) + 1)
    top = step * max(2, -(-int(max(values, default=0) + 1) // step))
    share = 100 / places
    first = places - len(values)
    return Curve(
        title=title,
        unit=unit,
        bars=[
            Rect(
                x=round((first + place + GAP / 2) * share, 3),
                width=round((1 - GAP) * share, 3),
                y=round(TOP + LOW * (1 - value / top), 2),
                height=round(LOW * value / top, 2),
                value=value,
            )
            for place, value in enumerate(values)
            if value
        ],
        values=[Mark(TOP + LOW, "0"), Mark(TOP, str(top))],
        times=[Mark(0, f"{span} ago"), Mark(100, "now", "end")],
        newest=values[-1] if values else 0.0,
        bottom=TOP + LOW,
    )
