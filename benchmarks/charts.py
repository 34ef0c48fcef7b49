"""Charts of the suite, as SVG that reads in light and in dark."""

from collections.abc import Mapping
from html import escape

#: Width of the whole and of the names, and height of a bar with its gap, in pixels.
WIDTH, NAMES, HEIGHT = 720, 220, 26


def bars(title: str, values: Mapping[str, float]) -> str:
    """Return horizontal bars, the shortest first.

    Args:
        title: What is measured, and its unit.
        values: Name -> value. Names that begin with ``quart_sse`` have another colour.
    """
    ordered = sorted(values.items(), key=lambda each: each[1])
    most = max(values.values(), default=1.0) or 1.0
    room = WIDTH - NAMES - 70
    height = 40 + HEIGHT * len(values)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
            f' role="img" aria-label="{escape(title)}" font-family="sans-serif" font-size="13">'
        ),
        (
            "<style>text{fill:#24292f}.us{fill:#1a7f5a}.them{fill:#8c959f}"
            "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.us{fill:#3fb98a}.them{fill:#6e7681}}"
            "</style>"
        ),
        f'<text x="0" y="18" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (name, value) in enumerate(ordered):
        y, width = 32 + number * HEIGHT, max(1.0, value / most * room)
        kind = "us" if name.startswith("quart_sse") else "them"
        lines += [
            f'<text x="0" y="{y + 14}">{escape(name)}</text>',
            f'<rect class="{kind}" x="{NAMES}" y="{y}" width="{width:.1f}" height="18" rx="2"/>',
            f'<text x="{NAMES + width + 6:.1f}" y="{y + 14}">{value:.3g}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
