"""Draws small line charts side by side as SVG, for light and dark mode. The x axis is logarithmic."""

import dataclasses
import html
import math
from collections.abc import Callable

WIDTH, HEIGHT = 300, 270  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 44, 20, 62, 46
STYLE = """
text { font: 11px system-ui, sans-serif; fill: #57606a } .title { font-size: 13px; font-weight: 600; fill: #1f2328 }
.grid { stroke: #d0d7de; stroke-width: 1 } .line { fill: none; stroke-width: 2 } .note { font-size: 10px }
.s0 { stroke: #0969da } .f0 { fill: #0969da } .s1 { stroke: #bc4c00 } .f1 { fill: #bc4c00 }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 } .title { fill: #f0f6fc } .grid { stroke: #3d444d }
.s0 { stroke: #58a6ff } .f0 { fill: #58a6ff } .s1 { stroke: #f0883e } .f1 { fill: #f0883e } }
"""


@dataclasses.dataclass
class Line:
    """A named line through points of size and value."""

    name: str
    points: list[tuple[float, float]]


@dataclasses.dataclass
class Panel:
    """A chart. `label` formats a size; `notes`, if any, are printed below the sizes."""

    title: str
    unit: str
    lines: list[Line]
    label: Callable[[int], str]
    notes: list[str] = dataclasses.field(default_factory=list)


def steps(highest: float) -> list[float]:
    """Three to five round values from zero to at least the highest."""
    rough = max(highest, 1e-3) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    return [step * index for index in range(math.ceil(highest / step - 1e-9) + 1)]


def text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    """An SVG text element."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{html.escape(words)}</text>'


def panel(chart: Panel, left: float) -> list[str]:
    """The SVG elements of a chart whose left edge is at `left`."""
    sizes = [size for size, _ in chart.lines[0].points]
    ticks = steps(max(value for line in chart.lines for _, value in line.points))
    x0, x1, y0, y1 = left + LEFT, left + WIDTH - RIGHT, HEIGHT - BOTTOM, TOP

    def x(size: float) -> float:
        return x0 + (x1 - x0) * math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])

    def y(value: float) -> float:
        return y0 - (y0 - y1) * max(value, 0) / ticks[-1]

    out = [text(x0 - 34, 16, chart.title, "title"), text(x0 - 34, 32, chart.unit)]
    for tick in ticks:
        out.append(f'<line x1="{x0}" x2="{x1}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" class="grid"/>')
        out.append(text(x0 - 6, y(tick) + 4, f"{tick:.3g}", anchor="end"))
    out += [text(x(size), y0 + 18, chart.label(size), anchor="middle") for size in sizes]
    out += [text(x(size), y0 + 33, note, "note", "middle") for size, note in zip(sizes, chart.notes, strict=False)]
    beside = x0 - 34
    for index, line in enumerate(chart.lines):
        path = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in line.points)
        out.append(f'<polyline points="{path}" class="line s{index}"/>')
        out += [f'<circle cx="{x(size):.1f}" cy="{y(value):.1f}" r="3" class="f{index}"/>' for size, value in line.points]
        out.append(f'<circle cx="{beside + 4}" cy="44" r="4" class="f{index}"/>')
        out.append(text(beside + 12, 48, line.name))
        beside += 24 + 6.2 * len(line.name)
    return out


def draw(charts: list[Panel]) -> str:
    """The SVG of all charts side by side."""
    width = WIDTH * len(charts)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" role="img">'
    named = f"<title>{html.escape('; '.join(chart.title for chart in charts))}</title>"
    parts = [part for index, chart in enumerate(charts) for part in panel(chart, index * WIDTH)]
    return "\n".join([head, named, f"<style>{STYLE}</style>", *parts, "</svg>", ""])
