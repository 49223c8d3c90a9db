"""A scatter plot as SVG text: accuracy against passes, with the Pareto front."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import attrs

__all__ = ["Point", "scatter"]

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 24, 56


@attrs.frozen
class Point:
    """A labelled point; `front` marks those that the line joins."""

    label: str
    x: float
    y: float
    front: bool


@attrs.frozen
class _Frame:
    """From values to places in the picture."""

    x_max: float
    y_min: float

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return round(LEFT + value / self.x_max * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        share = (1 - value) / (1 - self.y_min)
        return round(TOP + share * (HEIGHT - TOP - BOTTOM), 1)


def scatter(points: list[Point], x_name: str, y_name: str) -> str:
    """Draw points whose y is a share, 0 to 1; each names itself when pointed at."""
    x_max = 1.05 * max(point.x for point in points)
    y_min = max(0.0, int(10 * min(point.y for point in points)) / 10 - 0.05)
    frame = _Frame(x_max, y_min)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        *_axes(frame, x_name, y_name),
        *_marks(points, frame),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axes(frame: _Frame, x_name: str, y_name: str) -> Iterator[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    step = next(each for each in (1, 2, 5, 10, 20, 50, 100) if frame.x_max / each <= 12)
    for value in range(0, int(frame.x_max) + 1, step):
        x = frame.x(value)
        yield f'<path d="M{x} {TOP}V{bottom}" stroke="#e4e4e4"/>'
        yield f'<text x="{x}" y="{bottom + 18}" text-anchor="middle" fill="#444">{value}</text>'
    for tenth in range(11):
        if tenth / 10 >= frame.y_min:
            y = frame.y(tenth / 10)
            yield f'<path d="M{LEFT} {y}H{right}" stroke="#e4e4e4"/>'
            yield (
                f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end" fill="#444">'
                f"{10 * tenth} %</text>"
            )
    yield f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 14}" text-anchor="middle">{x_name}</text>'
    yield f'<text transform="translate(16 {(TOP + bottom) / 2}) rotate(-90)" ' + (
        f'text-anchor="middle">{y_name}</text>'
    )


def _marks(points: list[Point], frame: _Frame) -> Iterator[str]:
    front = sorted((point for point in points if point.front), key=lambda point: point.x)
    path = "L".join(f"{frame.x(point.x)} {frame.y(point.y)}" for point in front)
    yield f'<path d="M{path}" fill="none" stroke="#c2410c" stroke-width="1.5"/>'
    for point in sorted(points, key=lambda point: point.front):
        x, y, colour = frame.x(point.x), frame.y(point.y), "#c2410c" if point.front else "#64748b"
        name = escape(point.label)
        yield (
            f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}" fill-opacity="0.75">'
            f"<title>{name}: {point.x:.1f}, {point.y:.1%}</title></circle>"
        )
    yield from _labels(front, frame)


def _labels(front: list[Point], frame: _Frame) -> Iterator[str]:
    """Names of the front's points, below each other where they would overlap."""
    last = 0.0
    for point in front:
        x, y = frame.x(point.x), max(frame.y(point.y) + 16, last + 13)
        last = y
        anchor = "end" if x > WIDTH - 160 else "start"
        shift = -7 if anchor == "end" else 7
        name = escape(point.label)
        yield f'<text x="{x + shift}" y="{y}" text-anchor="{anchor}" fill="#9a3412">{name}</text>'
