"""A scatter plot of accuracy against cost as plain SVG, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, log10

import attrs

__all__ = ["Panel", "Point", "draw"]

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, LEGEND = 460, 330, 48, 34, 44, 22
INK = "#808080"
COLOURS = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd"),
    *("#8c564b", "#e377c2", "#17becf", "#bcbd22", "#7f7f7f"),
)


@attrs.frozen(kw_only=True)
class Point:
    """A system at one setting: its cost, accuracy with interval (shares), and a short label."""

    series: str
    cost: float
    rate: float
    interval: tuple[float, float]
    label: str = ""


@attrs.frozen(kw_only=True)
class Panel:
    """One plot; points of a series are joined in the order given."""

    title: str
    axis: str
    points: Sequence[Point]


def draw(panels: Sequence[Panel], columns: int = 2) -> str:
    """Return the panels in rows, with one legend below them."""
    series = list(dict.fromkeys(point.series for panel in panels for point in panel.points))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(series)}
    rows = ceil(len(panels) / columns)
    height = rows * HEIGHT + LEGEND * ceil(len(series) / 4) + 10
    body = []
    for number, panel in enumerate(panels):
        place = f"translate({number % columns * WIDTH} {number // columns * HEIGHT})"
        body.append(f'<g transform="{place}">{_panel(panel, colours)}</g>')
    for number, name in enumerate(series):
        x, y = LEFT + number % 4 * 225, rows * HEIGHT + 12 + number // 4 * LEGEND
        body.append(f'<circle cx="{x}" cy="{y}" r="5" fill="{colours[name]}"/>')
        body.append(_text(x + 10, y + 4, name))
    size = f'viewBox="0 0 {columns * WIDTH} {height}"'
    font = 'font-family="system-ui, sans-serif" font-size="12"'
    lines = "\n".join(body)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>\n{lines}\n</svg>\n'


def _panel(panel: Panel, colours: dict[str, str]) -> str:
    most = _round_up(max(point.cost for point in panel.points))
    least = min(0.9, *(point.interval[0] for point in panel.points))
    least = max(0.0, int(least * 10) / 10)

    def x(cost: float) -> float:
        return LEFT + (WIDTH - LEFT - 20) * cost / most

    def y(rate: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (rate - least) / (1 - least))

    parts = [_text(LEFT, 20, panel.title, weight="bold")]
    parts.append(_text((WIDTH + LEFT) / 2, HEIGHT - 8, panel.axis, anchor="middle"))
    for step in range(5):
        rate, cost = least + (1 - least) * step / 4, most * step / 4
        parts.append(_line(LEFT, y(rate), WIDTH - 20, y(rate), INK, 0.3))
        parts.append(_text(LEFT - 6, y(rate) + 4, f"{100 * rate:.0f} %", anchor="end"))
        parts.append(_text(x(cost), HEIGHT - BOTTOM + 16, f"{cost:g}", anchor="middle"))
    for name, colour in colours.items():
        own = [point for point in panel.points if point.series == name]
        path = " ".join(f"{x(point.cost):.1f},{y(point.rate):.1f}" for point in own)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" opacity="0.6"/>')
        for point in own:
            parts += _mark(point, x(point.cost), (y(point.rate), *map(y, point.interval)), colour)
    return "\n".join(parts)


def _mark(point: Point, x: float, heights: tuple[float, float, float], colour: str) -> list[str]:
    middle, low, high = heights
    shares = f"{100 * point.rate:.1f} % ({100 * point.interval[0]:.1f} to "
    title = f"{point.series} {point.label}: {shares}{100 * point.interval[1]:.1f} %)"
    dot = f'<circle cx="{x:.1f}" cy="{middle:.1f}" r="4" fill="{colour}"/>'
    return [
        f"<g><title>{escape(title)}, {point.cost:.2f}</title>",
        _line(x, low, x, high, colour, 0.45),
        f"{dot}{_text(x + 6, middle - 5, point.label)}</g>",
    ]


def _round_up(value: float) -> float:
    """The next number whose first digits are 1, 2, 3, 4, 6 or 8."""
    unit = 10 ** int(log10(value))
    return next(step * unit for step in (1, 2, 3, 4, 6, 8, 10, 20) if step * unit >= value)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, opacity: float) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" opacity="{opacity}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    style = f'fill="{INK}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
