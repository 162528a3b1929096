"""One connection's server-to-client bytes, as the client's switch port saw them."""

from dataclasses import dataclass, field
from pathlib import Path

from .capture import read_capture
from .topology import PRIMARY_MAC, REPLICA_MAC, SERVICE_ADDRESSES

_SEQUENCE_SPACE = 1 << 32


@dataclass(frozen=True)
class Run:
    """Bytes [first, first + count) of the stream, seen at an instant."""

    wall_ns: int
    first: int
    count: int
    by_replica: bool


@dataclass
class Stream:
    client_port: int
    initial_sequence: int
    runs: list[Run] = field(default_factory=list)

    @property
    def primary_runs(self) -> list[Run]:
        return [run for run in self.runs if not run.by_replica]

    @property
    def replica_runs(self) -> list[Run]:
        return [run for run in self.runs if run.by_replica]

    @property
    def gap(self) -> tuple[Run, Run] | None:
        """The primary's last bytes and the replica's first."""
        primary, replica = self.primary_runs, self.replica_runs
        return (primary[-1], replica[0]) if primary and replica else None


def choose_stream(capture: Path) -> Stream | None:
    """The connection with bytes of both servers whose gap is the median one; None if there is none."""
    streams = [stream for stream in read_streams(capture) if stream.gap]
    streams.sort(key=_gap_ns)
    return streams[len(streams) // 2] if streams else None


def _gap_ns(stream: Stream) -> int:
    gap = stream.gap
    return gap[1].wall_ns - gap[0].wall_ns if gap else 0


def read_streams(capture: Path) -> list[Stream]:
    """Those whose SYN/ACK is in the capture."""
    streams: dict[int, Stream] = {}
    for frame in read_capture(capture):
        segment = frame.tcp()
        if segment is None or segment.source not in SERVICE_ADDRESSES.values():
            continue
        if frame.source_mac not in (PRIMARY_MAC, REPLICA_MAC):
            continue
        if segment.syn:
            streams[segment.target_port] = Stream(segment.target_port, segment.sequence)
            continue
        stream = streams.get(segment.target_port)
        if stream is None or segment.payload_bytes == 0:
            continue
        # The run is far shorter than the sequence space: one subtraction unwraps it.
        first = (segment.sequence - stream.initial_sequence - 1) % _SEQUENCE_SPACE
        stream.runs.append(Run(frame.wall_ns, first, segment.payload_bytes, frame.source_mac == REPLICA_MAC))
    return list(streams.values())
