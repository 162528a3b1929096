"""One run from the first namespace to the verdict."""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from . import clock
from .capture import HEADERS_ONLY, WHOLE_FRAMES, Capture
from .client import Client, Progress
from .errors import EnvironmentProblem, RunFailed
from .event_log import Event
from .fault import RETURN_AFTER_S, Fault, FaultRecord
from .fault_kind import FaultKind
from .impair import Impair
from .options import ClientPath, FailoverOptions
from .process import Program, Tools
from .replica import Primary, Replica
from .result import Observations, Result, aborted, describe, is_told, judge
from .stop_signals import deferred
from .throughput import Throughput, measure_throughput
from .topology import Topology, is_alive, remove_leftovers
from .wire import WireReport, judge_wire

_POLL_S = 0.02
# What runs in the lab stands for machines of its own: other work on this one must not silence them.
_PRIORITY = -15
_CHURN_READY_S = 10.0
_OVERTAKEN_BY_US = 2000
_FOLDER_PREFIX = "understudy-lab-"


class Observer:
    """Is told what happens while it happens. The default looks away."""

    def happened(self, at_ns: int, what: str) -> None:
        """Something of the timeline, at this CLOCK_MONOTONIC instant."""

    def serves(self, who: str) -> None:
        """Who serves now: "primary", "nobody" or "replica"."""

    def progress(self, progress: Progress) -> None:
        """The client's progress."""

    def tick(self) -> None:
        """Time passes."""


def _work_folder(topology: Topology) -> Path:
    folder = Path(tempfile.gettempdir()) / f"{_FOLDER_PREFIX}{topology.run_id}"
    folder.mkdir(mode=0o700)
    return folder


def clean_up_after_crashed_runs() -> list[str]:
    """Removes namespaces and folders of runs whose process is gone. Returns the names."""
    removed = remove_leftovers()
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
        if folder.lstat().st_uid == os.getuid() and not is_alive(folder.name[len(_FOLDER_PREFIX):]):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(str(folder))
    return removed


class FailoverRun:
    """A run and all that it owns. Use it as a context: leaving it removes everything."""

    def __init__(self, options: FailoverOptions, observer: Observer | None = None, *,
                 client_capture: Path | None = None) -> None:
        """`client_capture` asks for a capture of headers on the client's switch port, in this file."""
        self._options = options
        self._observer = observer or Observer()
        self._client_capture = client_capture
        self._tools = Tools(options.build_dir)
        self._topology = Topology(options.mirror, options.ip, detour=options.mirror_faults.any,
                                  client_path=options.path is not None)
        self._folder: Path | None = None
        self._captures: list[Capture] = []
        self._path_capture: Capture | None = None
        self._programs: list[Program] = []
        self._client: Client | None = None
        self._churn: Program | None = None
        self._hosts: list[Program] = []  # what runs on primary and replica
        self._fault: Fault | None = None
        self._notes: list[tuple[int, str]] = []
        self.fault_record: FaultRecord | None = None
        self.wall_clock: clock.WallClock | None = None

    def __enter__(self) -> "FailoverRun":
        if os.geteuid() != 0:
            raise EnvironmentProblem("the lab needs root: it makes network namespaces; use sudo")
        needed = ["understudyd", "understudy-agent", "understudy", "understudy-twin"]
        needed += ["understudy-load"] if self._options.client is None else []
        needed += ["impair"] if self._options.mirror_faults.any or self._options.path else []
        self._tools.check(needed)
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def execute(self) -> Result:
        """Runs to the verdict. A program that fails on its own makes the run "failed", with its words as reason."""
        try:
            clean_up_after_crashed_runs()
            self._folder = _work_folder(self._topology)
            self._topology.build()
            return self._run(self._folder)
        except RunFailed as error:
            return aborted(self._options, str(error))

    def tails(self) -> list[tuple[str, list[str]]]:
        """The last lines of each program's log."""
        return [(program.name, program.tail()) for program in self._programs]

    def remove(self) -> None:
        """Ends and removes everything that this run made; may be called at any time, and again."""
        with deferred():
            self._remove()

    def _remove(self) -> None:
        for program in reversed(self._programs):
            program.kill()
        for capture in self._captures:
            capture.kill()
        if self._fault:
            self._fault.close()
        if self._client:
            self._client.progress.close()
        self._topology.remove()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, folder: Path) -> Result:
        options = self._options
        service_capture = self._start_captures(folder)
        if options.mirror_faults.any:
            self._harm_the_mirror(folder)
        if options.path:
            self._lengthen_the_path(options.path, folder)
        replica = Replica(options, self._tools, self._topology, folder)
        self._programs.append(replica.program)
        replica.wait_until_ready()
        try:
            replica.start_server()
        finally:
            self._programs += replica.programs[1:]
        primary = Primary(options, self._tools, self._topology, folder)
        self._programs += primary.programs
        primary.wait_until_ready()
        replica.wait_until_heartbeats_are_heard(options.heartbeat_interval_ms)
        self._hosts = [*reversed(replica.programs), *primary.programs]
        replica.attest("lab: both programs have just begun")

        def start_primary_again() -> Primary:
            again = Primary(options, self._tools, self._topology, folder, returns=True)
            self._programs += again.programs
            self._hosts += again.programs
            return again

        drain_ns = int(options.path.drain_ms * clock.NS_PER_MS) if options.path else 0
        self._fault = Fault(options.fault, self._topology, primary, replica, start_primary_again, drain_ns)

        if options.churn:
            self._start_churn(folder)
        started_ns = clock.monotonic_ns()
        self._client = Client(options, self._tools, self._topology, folder)
        self._programs.append(self._client.program)
        self._note(started_ns, "the client starts")
        self._observer.serves("primary")
        timed_out = self._attend(self._client, replica, self._fault, started_ns)
        self._note(clock.monotonic_ns(), "the client ends")
        report = self._client.report()
        churn = self._end_churn()
        self._fault.close()
        # Its own view of the run, while it can still be asked.
        replica_view = {question: replica.ask(question) for question in ("status", "counters")}

        for program in self._hosts:
            if not program.stop():
                raise RunFailed(f"{program.name} did not stop on SIGTERM")
        for capture in self._captures:
            capture.stop()
            if capture is not service_capture and capture.dropped():
                self._note(clock.monotonic_ns(), f"capture {capture.name} lacks {capture.dropped()} frames")
        self._tell(replica.log.poll())
        wire, first_after_ns = self._look_at_wire(service_capture, replica)
        return judge(Observations(options, started_ns, report, timed_out, self.fault_record, replica.log, wire,
                                  first_after_ns, self._notes, replica_view, churn, self._measure_throughput()))

    def _measure_throughput(self) -> Throughput | None:
        return measure_throughput(self._path_capture.file) if self._path_capture else None

    def _harm_the_mirror(self, folder: Path) -> None:
        faults = self._options.mirror_faults
        for i in range(len(self._options.mirror.ports)):
            self._impair(f"impair{i}", (f"y{i}", f"m{i}"), [
                "--seed", str(os.getpid() + i), "--loss", str(faults.loss),
                "--reorder", str(faults.reorder), "--reorder-delay-us", str(_OVERTAKEN_BY_US),
                "--duplicate", str(faults.duplicate), "--truncate", str(faults.truncate)], folder)

    def _lengthen_the_path(self, path: ClientPath, folder: Path) -> None:
        self._impair("path", ("w0", "w1"), [
            "--rate-mbit", f"{path.bits_per_s / 1e6:g}", "--delay-us", str(round(path.round_trip_ms * 500)),
            "--queue-bytes", str(path.buffer_bytes)], folder)
        # Behind the path, where the client is: what it gets, and when.
        self._path_capture = Capture("path", self._topology.client, "lan0", folder, folder / "path.pcap",
                                     direction="in", snap_bytes=HEADERS_ONLY, expression="tcp")
        self._captures.append(self._path_capture)
        self._path_capture.wait_until_listening()

    def _impair(self, name: str, between: tuple[str, str], words: list[str], folder: Path) -> None:
        impair = Impair(name, self._topology.switch, between, words, self._tools, folder)
        self._programs.append(impair.program)
        impair.wait_until_ready()

    def _start_churn(self, folder: Path) -> None:
        options = self._options
        words = ["/usr/bin/python3", str(Path(__file__).with_name("churn.py")), options.service_address,
                 str(options.port), str(options.churn)]
        self._churn = Program("churn", self._topology.client, words, folder)
        self._programs.append(self._churn)
        self._churn.wait_for_line("ready", _CHURN_READY_S)

    def _end_churn(self) -> dict[str, Any] | None:
        if self._churn is None:
            return None
        if not self._churn.stop():
            raise RunFailed("the connections that come and go did not end")
        report: dict[str, Any] = json.loads(self._churn.tail()[-1])
        return report

    def _note(self, at_ns: int, what: str) -> None:
        self._notes.append((at_ns, what))
        self._observer.happened(at_ns, what)

    def _start_captures(self, folder: Path) -> Capture:
        """Starts tcpdump where it is wanted; the one on the replica's service port is the judge."""
        switch = self._topology.switch
        service = Capture("service", switch, "r0", folder, folder / "service.pcap", direction="in",
                          snap_bytes=HEADERS_ONLY)
        self._captures.append(service)
        if self._client_capture:
            self._captures.append(Capture("client", switch, "c0", folder, self._client_capture, expression="tcp"))
        kept = self._options.pcap_dir
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True)
            for name, port in (("client-port", "c0"), ("tap", "m0"), ("service-port", "r0")):
                self._captures.append(Capture(name, switch, port, folder, kept.absolute() / f"{name}.pcap",
                                              snap_bytes=WHOLE_FRAMES))
        for capture in self._captures:
            capture.wait_until_listening()
        return service

    def _attend(self, client: Client, replica: Replica, fault: Fault, started_ns: int) -> bool:
        """Looks on until the client ends, and strikes when it is time. Returns whether the client had to be killed."""
        strikes = self._options.fault is not FaultKind.NONE
        strike_ns = started_ns + int(self._options.kill_after_s * clock.NS_PER_S)
        sequel = self._options.fault.has_sequel
        sequel_ns = strike_ns + int(RETURN_AFTER_S * clock.NS_PER_S)
        give_up_ns = started_ns + int(client.timeout_s * clock.NS_PER_S)
        while client.program.exit_status is None:
            now = clock.monotonic_ns()
            if strikes and now >= strike_ns:
                self._strike(client, fault, replica)
                strikes = False
            if sequel and self.fault_record and now >= sequel_ns:
                fault.go_on(self.fault_record)
                sequel = False
            if now >= give_up_ns:
                client.program.kill()
                return True
            self._tell(replica.log.poll())
            for progress in client.progress.poll():
                self._observer.progress(progress)
            self._observer.tick()
            for program in replica.programs:
                program.expect_running()
            pause_s = _POLL_S
            if strikes:
                pause_s = min(pause_s, max(0.0, (strike_ns - clock.monotonic_ns()) / clock.NS_PER_S))
            time.sleep(pause_s)
        return False

    def _strike(self, client: Client, fault: Fault, replica: Replica) -> None:
        self.fault_record = fault.strike(client.fault_file)
        # Taken here, near the moments that are compared: the wall clock may be slewed.
        self.wall_clock = clock.WallClock()
        self._observer.serves("nobody")
        # The primary's end takes longer than the takeover: what happened meanwhile is told in its order.
        steps = self.fault_record.steps if self.fault_record else []
        self._tell(replica.log.poll(), steps)

    def _tell(self, events: list[Event], steps: list[tuple[int, str]] | None = None) -> None:
        told = [(event.monotonic_ns, describe(event)) for event in events if is_told(event)]
        for at_ns, what in sorted(told + (steps or []), key=lambda entry: entry[0]):
            self._observer.happened(at_ns, what)
        if any(event.name == "master" for event in events):
            self._observer.serves("replica")

    def _look_at_wire(self, capture: Capture, replica: Replica) -> tuple[WireReport, int | None]:
        if capture.dropped():
            raise RunFailed(f"the capture on the service LAN lost {capture.dropped()} frames: no verdict")
        decision = replica.log.first("decision")
        wall_clock = self.wall_clock or clock.WallClock()
        boundary = None if decision is None else wall_clock.to_wall_ns(decision.monotonic_ns)
        wire = judge_wire(capture.file, boundary)
        if wire.first_after_wall_ns is None:
            return wire, None
        return wire, wall_clock.to_monotonic_ns(wire.first_after_wall_ns)
