"""takeover.svg: the bytes that a client gets, over time, and the gap between two servers."""

import html
import math
from dataclasses import dataclass

from .clock import NS_PER_MS
from .stream import Run, Stream

_WIDTH = 960
_HEIGHT = 640
_PRIMARY = "#2b6cb0"
_REPLICA = "#dd6b20"
_GAP = "#fdf1d6"
_INK = "#1a202c"
_GREY = "#a0aec0"
_MARGIN_GAPS = 1.5
_SHORTEST_MARGIN_MS = 80.0
_LEAST_STROKE = 3.0


@dataclass(frozen=True)
class Mark:
    at_ms: float
    label: str


@dataclass(frozen=True)
class Panel:
    """A rectangle of the picture and the part of the world it shows: milliseconds and bytes."""

    left: float
    top: float
    width: float
    height: float
    from_ms: float
    to_ms: float
    from_byte: float
    to_byte: float

    def x(self, ms: float) -> float:
        return self.left + (ms - self.from_ms) / (self.to_ms - self.from_ms) * self.width

    def y(self, byte: float) -> float:
        return self.top + self.height - (byte - self.from_byte) / (self.to_byte - self.from_byte) * self.height

    def shows(self, ms: float) -> bool:
        return self.from_ms <= ms <= self.to_ms


def draw_takeover(stream: Stream, fault_wall_ns: int, marks: list[Mark], title: str) -> str:
    """The picture as SVG text. `marks` are in milliseconds after the fault; the stream must have a gap."""
    gap = stream.gap
    assert gap is not None
    gap_from, gap_to = (_ms(run, fault_wall_ns) for run in gap)
    margin = max(_SHORTEST_MARGIN_MS, _MARGIN_GAPS * (gap_to - gap_from))
    whole = _panel(stream.runs, fault_wall_ns, top=500, height=80, from_ms=_ms(stream.runs[0], fault_wall_ns),
                   to_ms=_ms(stream.runs[-1], fault_wall_ns))
    zoomed = _panel(stream.runs, fault_wall_ns, top=96, height=340, from_ms=gap_from - margin,
                    to_ms=gap_to + margin)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" font-family="sans-serif" font-size="12" fill="{_INK}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(80, 30, title, size=17, weight="bold"),
        *_legend(80, 54),
        _gap_area(zoomed, gap_from, gap_to),
        *_axes(zoomed, "ms after the fault"),
        *_marks(zoomed, marks),
        *_runs(zoomed, stream.runs, fault_wall_ns),
        *_gap_label(zoomed, gap_from, gap_to),
        _text(80, 488, "the whole run", size=12, colour="#4a5568"),
        _gap_area(whole, gap_from, gap_to),
        *_axes(whole, "ms after the fault"),
        *_runs(whole, stream.runs, fault_wall_ns),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _ms(run: Run, fault_wall_ns: int) -> float:
    return (run.wall_ns - fault_wall_ns) / NS_PER_MS


def _panel(runs: list[Run], fault_wall_ns: int, *, top: float, height: float, from_ms: float,
           to_ms: float) -> Panel:
    if to_ms - from_ms < 1:
        to_ms = from_ms + 1
    shown = [run for run in runs if from_ms <= _ms(run, fault_wall_ns) <= to_ms] or runs
    low = min(run.first for run in shown)
    high = max(run.first + run.count for run in shown)
    border = max(1.0, (high - low) * 0.06)
    return Panel(80, top, _WIDTH - 110, height, from_ms, to_ms, max(0.0, low - border), high + border)


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", colour: str = _INK,
          weight: str = "normal", extra: str = "") -> str:
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
            f'font-weight="{weight}"{extra}>{html.escape(text)}</text>')


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width:g}"{dashes}/>')


def _legend(x: float, y: float) -> list[str]:
    parts = []
    for colour, label in ((_PRIMARY, "bytes of the primary"), (_REPLICA, "bytes of the replica"),
                          (_GAP, "no byte arrives")):
        parts.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="14" height="14" fill="{colour}" stroke="{_GREY}" '
                     'stroke-width="0.5"/>')
        parts.append(_text(x + 20, y + 11, label))
        x += 180
    return parts


def _nice_steps(low: float, high: float, wanted: int) -> list[float]:
    raw = (high - low) / wanted
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step) + 1)]


def _axes(panel: Panel, time_label: str) -> list[str]:
    bottom, right = panel.top + panel.height, panel.left + panel.width
    parts = []
    for ms in _nice_steps(panel.from_ms, panel.to_ms, 9):
        parts.append(_line(panel.x(ms), bottom, panel.x(ms), bottom + 5, _INK))
        parts.append(_text(panel.x(ms), bottom + 18, f"{ms:g}", anchor="middle"))
    for byte in _nice_steps(panel.from_byte, panel.to_byte, max(2, int(panel.height / 50))):
        parts.append(_line(panel.left, panel.y(byte), right, panel.y(byte), "#edf2f7"))
        parts.append(_text(panel.left - 8, panel.y(byte) + 4, f"{byte:g}", anchor="end"))
    parts.append(_line(panel.left, bottom, right, bottom, _INK))
    parts.append(_line(panel.left, panel.top, panel.left, bottom, _INK))
    parts.append(_text(right, bottom + 34, time_label, anchor="end", colour="#4a5568"))
    middle = panel.top + panel.height / 2
    label = "sequence number" if panel.height > 100 else "seq."
    parts.append(_text(18, middle, label, anchor="middle", colour="#4a5568",
                       extra=f' transform="rotate(-90 18 {middle:.1f})"'))
    return parts


def _marks(panel: Panel, marks: list[Mark]) -> list[str]:
    parts = []
    # Labels of marks close to each other stand on rows of their own.
    row = 0
    for mark in sorted(marks, key=lambda each: each.at_ms):
        if not panel.shows(mark.at_ms):
            continue
        x = panel.x(mark.at_ms)
        parts.append(_line(x, panel.top, x, panel.top + panel.height, _GREY, 1, "4 3"))
        y = panel.top + panel.height - 12 - 16 * row
        label = f"{mark.label}, {mark.at_ms:.1f} ms" if mark.at_ms else mark.label
        parts.append(_text(x + 4, y, label, size=11, colour="#4a5568"))
        row += 1
    return parts


def _runs(panel: Panel, runs: list[Run], fault_wall_ns: int) -> list[str]:
    parts = []
    for run in runs:
        ms = _ms(run, fault_wall_ns)
        if not panel.shows(ms):
            continue
        x, top, bottom = panel.x(ms), panel.y(run.first + run.count), panel.y(run.first)
        if bottom - top < _LEAST_STROKE:
            bottom = top + _LEAST_STROKE
        parts.append(_line(x, top, x, bottom, _REPLICA if run.by_replica else _PRIMARY, _LEAST_STROKE))
    return parts


def _gap_area(panel: Panel, from_ms: float, to_ms: float) -> str:
    x = panel.x(from_ms)
    return (f'<rect x="{x:.1f}" y="{panel.top:.1f}" width="{max(1.0, panel.x(to_ms) - x):.1f}" '
            f'height="{panel.height:.1f}" fill="{_GAP}"/>')


def _gap_label(panel: Panel, from_ms: float, to_ms: float) -> list[str]:
    left, right, y = panel.x(from_ms), panel.x(to_ms), panel.top + 24
    return [
        _line(left, y, right, y, _INK, 1.5),
        _line(left, y - 6, left, y + 6, _INK, 1.5),
        _line(right, y - 6, right, y + 6, _INK, 1.5),
        _text((left + right) / 2, y - 8, f"{to_ms - from_ms:.1f} ms", size=14, anchor="middle", weight="bold"),
    ]
