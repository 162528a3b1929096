"""Time. Programs stamp their events with CLOCK_MONOTONIC, captures carry the wall clock."""

import time

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


def monotonic_ns() -> int:
    return time.monotonic_ns()


class WallClock:
    """Translates between a capture's wall clock and CLOCK_MONOTONIC.

    The offset is taken when the object is made: make it near the captured moment, for the wall clock may be
    slewed or stepped.
    """

    def __init__(self) -> None:
        # The pair of readings that lies closest together bounds the error.
        best = None
        for _ in range(9):
            before = time.monotonic_ns()
            wall = time.time_ns()
            after = time.monotonic_ns()
            if best is None or after - before < best[0]:
                best = (after - before, wall - (before + after) // 2)
        assert best is not None
        self._offset_ns = best[1]

    def to_monotonic_ns(self, wall_ns: int) -> int:
        return wall_ns - self._offset_ns

    def to_wall_ns(self, monotonic_ns: int) -> int:
        return monotonic_ns + self._offset_ns
