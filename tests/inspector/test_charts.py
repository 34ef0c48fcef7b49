"""Charts: paths that fit, and numbers in few characters."""

import re

import pytest

from quart_sse.inspector.charts import HEIGHT, NONE, WIDTH, ago, draw, ms, short, size


def points(path: str) -> list[tuple[float, float]]:
    """Return the points of a path."""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path)]


def test_curve_ends_at_the_right_and_fits() -> None:
    """The newest value is at the edge, the highest one below the top."""
    chart = draw("Delivered", "per second", [0, 5, 10, 2.5], 5)

    line = points(chart.line)
    assert [x for x, _ in line] == [60.0, 120.0, 180.0, 240.0]
    assert [y for _, y in line] == [HEIGHT, 30.0, 4.0, 43.0]
    assert points(chart.area)[:4] == line
    assert chart.area.endswith(f"L{WIDTH}.0 {HEIGHT} L60.0 {HEIGHT} Z")
    assert (chart.newest, chart.peak) == (2.5, 10)
    assert chart.label == (
        "Delivered: 2.5 per second now, at most 10 per second in the last 2 minutes"
    ).replace("10 per second", "10")


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0, 0.0], [-1.0, 3.0]])
def test_curve_of_little_is_drawn_all_the_same(values: list[float]) -> None:
    """Nothing is divided by nothing, and no point is outside."""
    chart = draw("Lag", "ms", values, 3)

    assert len(points(chart.line)) == min(len(values), 2)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points(chart.line))


def test_numbers_are_short() -> None:
    """As they fit into a tile."""
    assert [short(n) for n in (None, 0, 2.5, 9999, 12_345, 250_000, 3.2e6, 4e9)] == [
        *(NONE, "0", "2.5", "9999", "12.3k", "250k", "3.2M", "4.0G")
    ]
    assert [ms(n) for n in (None, 0.0012, 0.25, 3.21)] == [NONE, "1.2 ms", "250 ms", "3.2 s"]
    assert [ago(n) for n in (None, -1, 59, 90, 7200, 200_000)] == [
        *(NONE, "0 s", "59 s", "2 min", "2 h", "2 d")
    ]
    assert [size(n) for n in (0, 1536, 200_000, 5e6, 5e9)] == [
        *("0 B", "1.5 KiB", "195 KiB", "4.8 MiB", "4.7 GiB")
    ]
