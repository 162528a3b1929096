"""How fast clients got new bytes right before a takeover and right after it."""

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from .clock import NS_PER_S
from .stream import Run, read_streams

_BITS_PER_BYTE = 8


@dataclass(frozen=True)
class Throughput:
    """Of all connections: the second that ends with the primary's last data, and the one from the replica's first on."""

    before_mbit: float
    after_mbit: float

    @property
    def ratio(self) -> float:
        return self.after_mbit / self.before_mbit if self.before_mbit else 0.0


class _Seen:
    """The bytes of one stream that were there before."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []

    def add(self, run: Run) -> int:
        """Returns how many of its bytes are new."""
        begin, end = run.first, run.first + run.count
        index = bisect_left(self._ranges, (begin, begin))
        if index and self._ranges[index - 1][1] >= begin:
            index -= 1
        known = 0
        last = index
        while last < len(self._ranges) and self._ranges[last][0] <= end:
            low, high = self._ranges[last]
            known += max(0, min(high, run.first + run.count) - max(low, run.first))
            begin, end = min(begin, low), max(end, high)
            last += 1
        self._ranges[index:last] = [(begin, end)]
        return run.count - known


def measure_throughput(capture: Path) -> Throughput | None:
    """From a capture where the clients are. None unless both servers sent data."""
    news: list[tuple[int, int]] = []
    last_of_primary, first_of_replica = 0, 0
    for stream in read_streams(capture):
        seen = _Seen()
        for run in stream.runs:
            news.append((run.wall_ns, seen.add(run)))
            if not run.by_replica:
                last_of_primary = max(last_of_primary, run.wall_ns)
            elif not first_of_replica or run.wall_ns < first_of_replica:
                first_of_replica = run.wall_ns
    if not last_of_primary or not first_of_replica:
        return None

    def mbit_in_second_from(begin: int) -> float:
        count = sum(count for at, count in news if begin <= at <= begin + NS_PER_S)
        return count * _BITS_PER_BYTE / 1e6

    return Throughput(mbit_in_second_from(last_of_primary - NS_PER_S), mbit_in_second_from(first_of_replica))
