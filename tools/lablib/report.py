"""The result in words: the verdict, the timeline, and the paper's figures beside ours."""

from .options import FailoverOptions
from .result import Result

# Table 1 of the paper: heartbeat interval in ms -> detection, takeover, recovery in ms.
PAPER_TABLE_1 = {
    1000: (2153.0, 359.0, 2512.0),
    3000: (3655.0, 371.0, 4027.0),
    5000: (5141.0, 374.0, 5515.0),
}
_PAPER_DEFAULT_ROW = 1000


def milliseconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value >= 1000 else f"{value:.1f} ms" if value >= 10 else f"{value:.2f} ms"


def timeline_line(at_ms: float, what: str) -> str:
    return f"  {at_ms:>12.3f} ms  {what}"


def comparison(result: Result) -> list[str]:
    """The paper's row for this heartbeat interval (else that of 1 s) above ours."""
    options: FailoverOptions = result.options
    row = options.heartbeat_interval_ms if options.heartbeat_interval_ms in PAPER_TABLE_1 else _PAPER_DEFAULT_ROW
    paper = PAPER_TABLE_1[row]
    ours = (result.detection_ms, result.takeover_ms, result.recovery_ms)
    width = 34
    lines = [f"  {'':<{width}}{'detection':>12}{'takeover':>12}{'recovery':>12}"]
    for name, figures in ((f"paper, Table 1, Hello each {row / 1000:g} s", paper),
                          (f"this run, Hello each {_interval(options.heartbeat_interval_ms)}", ours)):
        lines.append(f"  {name:<{width}}" + "".join(f"{milliseconds(figure):>12}" for figure in figures))
    return lines


def _interval(interval_ms: int) -> str:
    return f"{interval_ms / 1000:g} s" if interval_ms >= 1000 else f"{interval_ms} ms"


def summary(result: Result, *, with_timeline: bool = True) -> list[str]:
    lines = [f"{result.verdict.upper()}: {result.reason}"]
    if with_timeline and result.events:
        lines += ["", "timeline (0: the fault)" if result.detection_ms is not None else "timeline"]
        lines += [timeline_line(at, what) for at, what in result.events]
    if result.detection_ms is not None:
        lines += ["", *comparison(result)]
    if result.client is not None:
        lines += ["", *_counts(result)]
    return lines


def _counts(result: Result) -> list[str]:
    counts, outage = result.connections, result.outage
    lines = [f"  connections    {counts.open_at_failure} open at the failure, {counts.survived} survived, "
             f"{counts.reset} reset, {counts.stalled} stalled"]
    if result.options.client is None:
        lines.append(f"  bytes          {result.bytes_checked} checked, {result.bytes_wrong} wrong")
        lines.append(f"  outage         median {milliseconds(outage.p50)}, 99 % {milliseconds(outage.p99)}, "
                     f"longest {milliseconds(outage.max)}")
        lines.append(f"  client         {result.client_retransmissions} retransmissions")
    if result.throughput is not None:
        lines.append(f"  throughput     {result.throughput.before_mbit:.1f} Mbit/s in the second before, "
                     f"{result.throughput.after_mbit:.1f} in the second after "
                     f"({result.throughput.ratio:.0%})")
    lines.append(f"  the replica    {result.replica_frames_before_takeover} frames before the takeover, "
                 f"{result.arp_answers_before_takeover} of them ARP answers")
    return lines
