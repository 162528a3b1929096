"""The verdict of a run, and its JSON. The keys are a contract: other programs read them."""

from dataclasses import dataclass, field
from typing import Any

from .client import ClientReport
from .clock import NS_PER_MS
from .event_log import Event, EventLog
from .fault import FaultRecord
from .fault_kind import FaultKind
from .options import FailoverOptions, version
from .wire import WireReport

_REPLICA_EVENTS = {
    "ready": "the replica shadows",
    "suspect": "suspect: the primary is silent",
    "silent": "silent again",
    "decision": "decision: the replica takes over",
    "drained": "the tap is drained",
    "gate_open": "the egress gate is open",
    "promoted": "connections promoted",
    "announced": "announced by gratuitous ARP",
    "master": "the replica is master",
    "agent": "the agent says",
    "fencing": "the fence command runs",
    "fenced": "the fence confirmed",
    "fence_failed": "the fence failed",
    "switchover": "switchover: the agent is asked to silence the service",
    "switchover_undone": "the switchover is undone",
    "muted": "muted: the primary serves after all",
    "primary_speaks": "the primary speaks although the replica serves",
    "address_conflict": "another host claims the service address",
    "takeover_failed": "the takeover failed",
}


@dataclass(frozen=True)
class Connections:
    open_at_failure: int = 0
    survived: int = 0
    reset: int = 0
    stalled: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Outage:
    p50: float | None = None
    p99: float | None = None
    max: float | None = None


@dataclass
class Observations:
    """All that a run brought to light, before it is judged."""

    options: FailoverOptions
    started_ns: int
    client: ClientReport
    client_timed_out: bool
    fault: FaultRecord | None
    replica_log: EventLog
    wire: WireReport
    wire_first_after_ns: int | None
    notes: list[tuple[int, str]]
    replica_view: dict[str, Any]
    churn: dict[str, Any] | None = None


@dataclass
class Result:
    verdict: str
    reason: str
    client: ClientReport | None
    connections: Connections
    bytes_checked: int
    bytes_wrong: int
    detection_ms: float | None
    takeover_ms: float | None
    outage: Outage
    client_retransmissions: int
    replica_frames_before_takeover: int
    arp_answers_before_takeover: int
    address_probes_before_takeover: int
    events: list[tuple[float, str]]
    options: FailoverOptions
    replica_view: dict[str, Any] = field(default_factory=dict)

    @property
    def survived(self) -> bool:
        return self.verdict == "survived"

    @property
    def recovery_ms(self) -> float | None:
        """The paper's word for detection and takeover together."""
        if self.detection_ms is None or self.takeover_ms is None:
            return None
        return self.detection_ms + self.takeover_ms

    def to_json(self) -> dict[str, Any]:
        client = self.client or ClientReport(-1, "")
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "client": {"exit": client.exit_status, "output": client.output},
            "connections": {
                "open_at_failure": self.connections.open_at_failure,
                "survived": self.connections.survived,
                "reset": self.connections.reset,
                "stalled": self.connections.stalled,
            },
            "bytes": {"checked": self.bytes_checked, "wrong": self.bytes_wrong},
            "detection_ms": _rounded(self.detection_ms),
            "takeover_ms": _rounded(self.takeover_ms),
            "outage_ms": {"p50": _rounded(self.outage.p50), "p99": _rounded(self.outage.p99),
                          "max": _rounded(self.outage.max)},
            "client_retransmissions": self.client_retransmissions,
            "replica_frames_before_takeover": self.replica_frames_before_takeover,
            "arp_answers_before_takeover": self.arp_answers_before_takeover,
            "address_probes_before_takeover": self.address_probes_before_takeover,
            "events": [{"at_ms": _rounded(at), "what": what} for at, what in self.events],
            "replica": self.replica_view,
            "run": {
                "version": version(),
                "app": self.options.app,
                "clients": self.options.clients,
                "duration_s": self.options.duration_s,
                "message_bytes": self.options.message_bytes,
                "rate": self.options.rate,
                "fault": self.options.fault.value,
                "kill_after_s": self.options.kill_after_s,
                "mirror": self.options.mirror.value,
                "mirror_faults_per_million": vars(self.options.mirror_faults),
                "heartbeat_interval_ms": self.options.heartbeat_interval_ms,
                "heartbeat_misses": self.options.heartbeat_misses,
                "guard": self.options.guard,
                "fence": self.options.fence,
                "churn": self.options.churn,
            },
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def aborted(options: FailoverOptions, reason: str) -> Result:
    """The result of a run that could not be judged."""
    return Result("failed", reason, None, Connections(), 0, 0, None, None, Outage(), 0, 0, 0, 0, [], options)


def judge(seen: Observations) -> Result:
    """Turns observations into the verdict."""
    decision = seen.replica_log.first("decision")
    promoted = seen.replica_log.first("promoted")
    load = seen.client.load or {}
    connections = _connections(seen, decision, promoted)
    outage = load.get("outage_ms") or {}
    detection_ms = None
    if decision and seen.fault:
        detection_ms = (decision.monotonic_ns - seen.fault.began_ns) / NS_PER_MS
    takeover_ms = None
    if decision and seen.wire_first_after_ns is not None:
        takeover_ms = (seen.wire_first_after_ns - decision.monotonic_ns) / NS_PER_MS
    result = Result(
        verdict="failed",
        reason="",
        client=seen.client,
        connections=connections,
        bytes_checked=load.get("bytes", {}).get("checked", 0),
        bytes_wrong=load.get("bytes", {}).get("wrong", 0),
        detection_ms=detection_ms,
        takeover_ms=takeover_ms,
        outage=Outage(outage.get("p50"), outage.get("p99"), outage.get("max")),
        client_retransmissions=load.get("retransmissions", 0),
        replica_frames_before_takeover=seen.wire.frames_before,
        arp_answers_before_takeover=seen.wire.arp_answers_before,
        address_probes_before_takeover=seen.wire.address_probes_before,
        events=_timeline(seen),
        options=seen.options,
        replica_view=seen.replica_view,
    )
    reason = _what_went_wrong(seen, result, decision)
    if reason is None:
        result.verdict, result.reason = "survived", _what_went_well(result)
    else:
        result.reason = reason
    return result


def _connections(seen: Observations, decision: Event | None, promoted: Event | None) -> Connections:
    if seen.options.client is None:
        counts = (seen.client.load or {}).get("connections", {})
        return Connections(counts.get("open_at_failure", 0), counts.get("survived", 0), counts.get("reset", 0),
                           counts.get("stalled", 0), counts.get("failed", 0))
    # An unknown client tells nothing: the replica's own count of what it carried on stands in.
    if decision is None or promoted is None:
        return Connections()
    opened, carried, reset = decision.count("open"), promoted.count("promoted"), promoted.count("reset")
    return Connections(opened, carried, reset, max(0, opened - carried - reset))


def _what_went_wrong(seen: Observations, result: Result, decision: Event | None) -> str | None:
    """The first thing that speaks against survival, the gravest first; None: nothing does."""
    control_run = not seen.options.fault.is_death
    counts = result.connections
    if result.replica_frames_before_takeover:
        return (f"the replica sent {result.replica_frames_before_takeover} frames before the takeover, "
                f"{result.arp_answers_before_takeover} of them ARP answers")
    if control_run and decision is not None:
        return "the replica took over although nothing had failed"
    if result.bytes_wrong:
        return f"{result.bytes_wrong} of {result.bytes_checked} bytes are wrong"
    if seen.options.fault is not FaultKind.NONE and seen.fault is None:
        return "the client ended before the fault"
    if decision and seen.fault and decision.monotonic_ns < seen.fault.began_ns:
        early_ms = (seen.fault.began_ns - decision.monotonic_ns) / NS_PER_MS
        return f"the replica took over {early_ms:.0f} ms before the fault, from a primary that served"
    if not control_run and (decision is None or seen.replica_log.first("master") is None):
        if seen.options.fault is FaultKind.FREEZE and (seen.options.rate == 0 or not seen.options.fence):
            return ("the replica did not take over: a kernel that answers is no proof of death without requests that "
                    "go unanswered, and a fence")
        return "the replica did not take over"
    if seen.client_timed_out:
        return "the client did not end in time and was killed"
    if seen.options.client is None and seen.client.load is None:
        return f"the client ended with status {seen.client.exit_status} and left no report"
    if counts.failed:
        return f"{counts.failed} of {seen.options.clients} connections could not be opened"
    # The replica counts no connections of a UDP service: of a client of any kind only its end tells.
    uncounted = seen.options.client is not None and (control_run or seen.options.over_datagrams)
    if counts.open_at_failure == 0 and not uncounted:
        return "no connection was open at the failure"
    if seen.options.mirror_faults.any and decision is not None:
        return _what_coverage_got_wrong(seen, counts, decision)
    if seen.churn and seen.churn["failed"]:
        return (f"{seen.churn['failed']} of {seen.churn['failed'] + seen.churn['answered']} connections that came and "
                f"went failed: {'; '.join(seen.churn['reasons'])}")
    if counts.reset or counts.stalled or counts.survived != counts.open_at_failure:
        return (f"of {counts.open_at_failure} connections {counts.survived} survived, {counts.reset} were reset, "
                f"{counts.stalled} stalled")
    if seen.client.exit_status != 0:
        return f"the client ended with status {seen.client.exit_status}"
    return None


def _what_coverage_got_wrong(seen: Observations, counts: Connections, decision: Event) -> str | None:
    """With a mirror that loses frames: the coverage at the decision is what the clients must have seen (rules.md 33)."""
    covered, uncovered = decision.count("covered"), decision.count("uncovered")
    # A lost tail shows only in the client's own numbers, after the takeover (rules.md 3).
    counters = seen.replica_view.get("counters") or {}
    contradicted = next((int(entry["value"]) for entry in counters.get("counters", [])
                         if entry["name"] == "stack.connections_contradicted"), 0)
    if counts.stalled:
        return f"{counts.stalled} connections stalled instead of being reset"
    if counts.survived + contradicted != covered or counts.reset != uncovered + contradicted:
        return (f"the decision saw {covered} connections covered and {uncovered} not, and {contradicted} were "
                f"contradicted by their clients, but {counts.survived} survived and {counts.reset} were reset")
    return None


def _what_went_well(result: Result) -> str:
    counts = result.connections
    if result.options.mirror_faults.any:
        return (f"as the coverage said: {counts.survived} connections carried on, {counts.reset} reset, "
                f"{result.bytes_checked} bytes checked, none wrong")
    if not result.options.fault.is_death:
        run = "control run" if result.options.fault is FaultKind.NONE else f"fault {result.options.fault.value}"
        return f"{run}: {counts.survived} connections served by the primary, and nobody took over"
    checked = (f", {result.bytes_checked} bytes checked, none wrong"
               if result.options.client is None else "")
    return f"all {counts.survived} connections carried on by the replica{checked}"


def describe(event: Event) -> str:
    """An event of the replica in words."""
    text = _REPLICA_EVENTS.get(event.name, event.name)
    details = [f"{key} {event.fields[key]}" for key in ("open", "covered", "promoted", "reset", "half_open", "datagrams",
                                                          "frames")
               if key in event.fields]
    if event.name == "agent":
        details.append(str(event.fields.get("says")))
    if event.name in ("suspect", "silent", "muted") and event.fields.get("evidence"):
        details.append(str(event.fields["evidence"]))
    return f"{text} ({', '.join(details)})" if details else text


def is_told(event: Event) -> bool:
    return event.name in _REPLICA_EVENTS


def _timeline(seen: Observations) -> list[tuple[float, str]]:
    """All that happened, in milliseconds from the fault (a control run: from the client's start)."""
    origin = seen.fault.began_ns if seen.fault else seen.started_ns
    happened = [*seen.notes]
    if seen.fault:
        happened += seen.fault.steps
    happened += [(event.monotonic_ns, describe(event)) for event in seen.replica_log.events if is_told(event)]
    if seen.wire_first_after_ns is not None:
        happened.append((seen.wire_first_after_ns, "first frame of the replica on the service LAN"))
    happened.sort(key=lambda entry: entry[0])
    return [((at - origin) / NS_PER_MS, what) for at, what in happened]
