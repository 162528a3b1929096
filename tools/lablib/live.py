"""A run in the terminal while it happens: the timeline grows, and one line at its foot says how things stand."""

import sys
from typing import TextIO

from . import clock
from .client import Progress
from .failover import Observer

_PLAIN_INTERVAL_NS = clock.NS_PER_S
_REDRAW_INTERVAL_NS = 100 * clock.NS_PER_MS
_ERASE_LINE = "\r\033[K"
_COLOURS = {"primary": "\033[32m", "nobody": "\033[31m", "replica": "\033[36m"}
_PLAIN = "\033[0m"


class LiveView(Observer):
    """Plain lines when the output is no terminal."""

    def __init__(self, output: TextIO = sys.stdout) -> None:
        self._output = output
        self._terminal = output.isatty()
        self._started_ns = clock.monotonic_ns()
        self._serves = "nobody"
        self._last: Progress | None = None
        self._messages_per_s = 0.0
        self._drawn_ns = 0

    def happened(self, at_ns: int, what: str) -> None:
        self._print(f"  {(at_ns - self._started_ns) / clock.NS_PER_S:9.3f} s  {what}")

    def serves(self, who: str) -> None:
        self._serves = who
        self._draw_foot()

    def progress(self, progress: Progress) -> None:
        if self._last and progress.monotonic_ns > self._last.monotonic_ns:
            seconds = (progress.monotonic_ns - self._last.monotonic_ns) / clock.NS_PER_S
            self._messages_per_s = (progress.messages - self._last.messages) / seconds
        self._last = progress

    def tick(self) -> None:
        interval_ns = _REDRAW_INTERVAL_NS if self._terminal else _PLAIN_INTERVAL_NS
        if clock.monotonic_ns() - self._drawn_ns >= interval_ns:
            self._draw_foot()

    def close(self) -> None:
        """Leaves the terminal with a clean line."""
        if self._terminal:
            self._output.write(_ERASE_LINE)
            self._output.flush()

    def _foot(self) -> str:
        seconds = (clock.monotonic_ns() - self._started_ns) / clock.NS_PER_S
        colour, plain = (_COLOURS[self._serves], _PLAIN) if self._terminal else ("", "")
        connections = self._last.connections if self._last else 0
        return (f"  {seconds:9.3f} s  serving: {colour}{self._serves:<8}{plain} {connections:>5} connections "
                f"{self._messages_per_s:>8.0f} messages/s")

    def _draw_foot(self) -> None:
        self._drawn_ns = clock.monotonic_ns()
        if self._terminal:
            self._output.write(_ERASE_LINE + self._foot())
        else:
            self._output.write(self._foot() + "\n")
        self._output.flush()

    def _print(self, line: str) -> None:
        if self._terminal:
            self._output.write(_ERASE_LINE + line + "\n" + self._foot())
        else:
            self._output.write(line + "\n")
        self._output.flush()
