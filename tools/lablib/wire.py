"""What the replica said on the service LAN, as the switch saw it."""

from dataclasses import dataclass
from pathlib import Path

from .capture import read_capture
from .topology import PRIMARY_MAC


@dataclass
class WireReport:
    frames_before: int = 0
    arp_answers_before: int = 0
    address_probes_before: int = 0
    first_after_wall_ns: int | None = None
    frames_after: int = 0


def judge_wire(path: Path, decision_wall_ns: int | None) -> WireReport:
    """Splits the replica's frames by the instant of the decision. Without a decision every frame is too early."""
    report = WireReport()
    for frame in read_capture(path):
        if decision_wall_ns is not None and frame.wall_ns >= decision_wall_ns:
            report.frames_after += 1
            if report.first_after_wall_ns is None:
                report.first_after_wall_ns = frame.wall_ns
            continue
        if frame.is_address_probe_of(PRIMARY_MAC):
            report.address_probes_before += 1
            continue
        report.frames_before += 1
        report.arp_answers_before += frame.is_arp_reply
    return report
