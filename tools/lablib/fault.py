"""The faults. Each says when it began and when the service link was certainly dead."""

import enum
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from . import clock
from .netlink import NamespaceLinks
from .topology import HEARTBEAT_LINKS, Topology, kill_everything_in, remove_namespace


class FaultKind(enum.Enum):
    POWER = "power"
    LINK = "link"
    HEARTBEAT_CUT = "heartbeat-cut"
    ONE_LINK_CUT = "one-link-cut"
    MIRROR_CUT = "mirror-cut"
    NONE = "none"

    @property
    def is_death(self) -> bool:
        """Whether the service ends, and the replica must take over. After all others it must not."""
        return self in (FaultKind.POWER, FaultKind.LINK)


@dataclass
class FaultRecord:
    """CLOCK_MONOTONIC instants of a fault, and the steps it was made of."""

    began_ns: int
    service_down_ns: int
    steps: list[tuple[int, str]] = field(default_factory=list)


class Fault:
    """A fault that is ready to strike: everything slow has been done beforehand."""

    def __init__(self, kind: FaultKind, topology: Topology, drain_ns: int = 0) -> None:
        """`drain_ns`: for so long after the fault frames of the primary still reach the client."""
        self._kind = kind
        self._drain_ns = drain_ns
        self._topology = topology
        where = topology.switch if kind is FaultKind.MIRROR_CUT else topology.primary
        self._links = NamespaceLinks(where) if kind is not FaultKind.NONE else None

    def strike(self, fault_file: Path) -> FaultRecord | None:
        """Injects the fault. The file tells the client from when on nothing of the primary reaches it."""
        if self._links is None:
            return None
        if not self._kind.is_death:
            return self._cut(fault_file)
        # The service link first: after it nothing of the primary can reach a client, neither FIN nor RST.
        began, service_down = self._links.take_down("lan0")
        record = FaultRecord(began, service_down)
        record.steps.append((began, f"fault {self._kind.value}: the primary's service link goes down"))
        record.steps.append((service_down, "service link down"))
        if self._kind is FaultKind.POWER:
            for link in HEARTBEAT_LINKS:
                _, down = self._links.take_down(link.interface)
            record.steps.append((down, "heartbeat links down"))
        self.close()
        write_fault_file(fault_file, service_down + self._drain_ns)
        if self._kind is FaultKind.POWER:
            killed = kill_everything_in(self._topology.primary)
            record.steps.append((clock.monotonic_ns(), f"{killed} processes of the primary killed"))
            remove_namespace(self._topology.primary)
            record.steps.append((clock.monotonic_ns(), "the primary is gone"))
        return record

    def _cut(self, fault_file: Path) -> FaultRecord:
        """Cuts what the replica hears by; the service lives on."""
        if self._kind is FaultKind.MIRROR_CUT:
            interfaces = ["m0"]
        else:
            interfaces = [link.interface for link in HEARTBEAT_LINKS]
            interfaces = interfaces[:1] if self._kind is FaultKind.ONE_LINK_CUT else interfaces
        assert self._links is not None
        cuts = [self._links.take_down(interface) for interface in interfaces]
        record = FaultRecord(cuts[0][0], cuts[-1][1])
        record.steps.append((cuts[0][0], f"fault {self._kind.value}: {', '.join(interfaces)} goes down"))
        self.close()
        write_fault_file(fault_file, record.service_down_ns)
        return record

    def close(self) -> None:
        if self._links is not None:
            self._links.close()
            self._links = None


def write_fault_file(path: Path, fault_ns: int) -> None:
    """Whole or not at all: the client may read it at any time."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({"fault_ns": fault_ns}) + "\n", encoding="ascii")
    os.rename(temporary, path)
