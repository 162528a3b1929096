"""The faults. Each says when it began and when the service was certainly gone."""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import clock
from .errors import RunFailed
from .fault_kind import FaultKind
from .netlink import NamespaceLinks
from .replica import Primary, Replica
from .topology import HEARTBEAT_LINKS, Topology, kill_everything_in, remove_namespace

_SERVICE_LINK = "lan0"
# How long after the fault the replica runs again, or the primary is back.
RETURN_AFTER_S = 1.5


@dataclass
class FaultRecord:
    """CLOCK_MONOTONIC instants of a fault, and the steps it was made of."""

    began_ns: int
    service_down_ns: int
    steps: list[tuple[int, str]] = field(default_factory=list)


class Fault:
    """A fault that is ready to strike: everything slow has been done beforehand."""

    def __init__(self, kind: FaultKind, topology: Topology, primary: Primary, replica: Replica,
                 start_primary: Callable[[], Primary]) -> None:
        """`start_primary` starts the programs of a primary that comes back."""
        self._kind = kind
        self._topology = topology
        self._primary = primary
        self._replica = replica
        self._start_primary = start_primary
        self._frozen = False
        self._switchover: subprocess.Popen[str] | None = None
        where = topology.switch if kind is FaultKind.MIRROR_CUT else topology.primary
        self._links = NamespaceLinks(where)

    def strike(self, fault_file: Path) -> FaultRecord | None:
        """Injects the fault. The file tells the client, at its end, when the service was down."""
        strikes: dict[FaultKind, Callable[[], FaultRecord]] = {
            FaultKind.POWER: self._cut_power, FaultKind.RETURN: self._cut_power,
            FaultKind.LINK: self._cut_service_link, FaultKind.RETURN_LINK: self._cut_service_link,
            FaultKind.FREEZE: self._freeze, FaultKind.PROCESS: self._kill_server, FaultKind.STALL: self._stall,
            FaultKind.SWITCHOVER: self._switch_over, FaultKind.SHUTDOWN: self._shut_down,
        }
        if self._kind is FaultKind.NONE:
            return None
        record = strikes.get(self._kind, self._cut)()
        write_fault_file(fault_file, record.service_down_ns)
        if self._kind in (FaultKind.POWER, FaultKind.RETURN):
            self._remove_primary(record)
        return record

    def go_on(self, record: FaultRecord) -> None:
        """What follows later: somebody comes back."""
        if self._kind is FaultKind.STALL:
            self._replica.program.unfreeze()
            record.steps.append((clock.monotonic_ns(), "the replica runs again"))
        elif self._kind is FaultKind.RETURN_LINK:
            _, up = self._links.bring_up(_SERVICE_LINK)
            record.steps.append((up, "the primary's service link is back, with the kernel's old connections"))
        else:
            self._topology.rebuild_primary()
            self._primary = self._start_primary()
            self._topology.plug_in_primary()
            record.steps.append((clock.monotonic_ns(), "a fresh primary is back"))
            self._primary.wait_until_ready()

    def _cut_service_link(self) -> FaultRecord:
        # After it nothing of the primary can reach a client, neither FIN nor RST.
        began, service_down = self._links.take_down(_SERVICE_LINK)
        record = FaultRecord(began, service_down)
        record.steps.append((began, f"fault {self._kind.value}: the primary's service link goes down"))
        record.steps.append((service_down, "service link down"))
        return record

    def _cut_power(self) -> FaultRecord:
        # The heartbeat links first: no last word of the agent gets out.
        cuts = [self._links.take_down(link.interface) for link in HEARTBEAT_LINKS]
        record = self._cut_service_link()
        record.began_ns = cuts[0][0]
        record.steps.insert(0, (cuts[0][0], f"fault {self._kind.value}: the primary's heartbeat links go down"))
        return record

    def _remove_primary(self, record: FaultRecord) -> None:
        self.close()
        killed = kill_everything_in(self._topology.primary)
        record.steps.append((clock.monotonic_ns(), f"{killed} processes of the primary killed"))
        remove_namespace(self._topology.primary)
        record.steps.append((clock.monotonic_ns(), "the primary is gone"))

    def _freeze(self) -> FaultRecord:
        """Server and agent stop; their kernel lives, and acknowledges what clients send."""
        began = clock.monotonic_ns()
        self._frozen = True
        self._primary.server.freeze()
        self._primary.agent.freeze()
        down = clock.monotonic_ns()
        return FaultRecord(began, down, [(began, "fault freeze: server and agent stop, their kernel lives")])

    def _kill_server(self) -> FaultRecord:
        began = clock.monotonic_ns()
        self._primary.server.kill()
        down = clock.monotonic_ns()
        return FaultRecord(began, down, [(began, "fault process: the server is killed")])

    def _stall(self) -> FaultRecord:
        began = clock.monotonic_ns()
        self._replica.program.freeze()
        return FaultRecord(began, began, [(began, "fault stall: the replica does not run")])

    def _switch_over(self) -> FaultRecord:
        began = clock.monotonic_ns()
        self._switchover = self._replica.command("switchover")
        return FaultRecord(began, began, [(began, "an operator asks for a switchover")])

    def _shut_down(self) -> FaultRecord:
        began = clock.monotonic_ns()
        self._primary.agent.ask_to_end()
        return FaultRecord(began, began, [(began, "the primary's host is shut down: its agent hands over")])

    def _cut(self) -> FaultRecord:
        """Cuts what the replica hears by; the service lives on."""
        if self._kind is FaultKind.MIRROR_CUT:
            interfaces = ["m0"]
        else:
            interfaces = [link.interface for link in HEARTBEAT_LINKS]
            interfaces = interfaces[:1] if self._kind is FaultKind.ONE_LINK_CUT else interfaces
        cuts = [self._links.take_down(interface) for interface in interfaces]
        record = FaultRecord(cuts[0][0], cuts[-1][1])
        record.steps.append((cuts[0][0], f"fault {self._kind.value}: {', '.join(interfaces)} goes down"))
        return record

    def close(self) -> None:
        """Leaves nothing half done: what was stopped can be ended."""
        self._links.close()
        if self._frozen:
            self._primary.server.kill()
            self._primary.agent.kill()
        if self._switchover is not None:
            try:
                self._switchover.wait(10)
            except subprocess.TimeoutExpired:
                self._switchover.kill()
                raise RunFailed("`understudy switchover` did not end") from None


def write_fault_file(path: Path, fault_ns: int) -> None:
    """Whole or not at all: the client may read it at any time."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({"fault_ns": fault_ns}) + "\n", encoding="ascii")
    os.rename(temporary, path)
