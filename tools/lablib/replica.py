"""The replica's and the primary's programs of a run."""

import json
import os
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any

from .errors import RunFailed
from .event_log import EventLog
from .options import FailoverOptions
from .process import Program, Tools
from .topology import (HEARTBEAT_LINKS, HEARTBEAT_PORT, PRIMARY_MAC, REPLICA_MAC, Topology)

_READY_TIMEOUT_S = 30.0
_STATUS_TIMEOUT_S = 5.0
_POLL_S = 0.02
_SHORTEST_HANG_MS = 100


def _dpdk_port(number: int, interface: str, frames: int) -> str:
    return (f"dpdk:net_af_packet{number},iface={interface},blocksz=4096,framesz=2048,framecnt={frames},"
            "qdisc_bypass=1")


def _heartbeat_timing(options: FailoverOptions) -> list[str]:
    return ["--heartbeat-interval-ms", str(options.heartbeat_interval_ms),
            "--heartbeat-misses", str(options.heartbeat_misses)]


def _heartbeat_key(folder: Path) -> list[str]:
    """The run's own key, made by whoever asks first."""
    file = folder / "heartbeat.key"
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32) + "\n")
    return ["--heartbeat-key", str(file)]


def _own_folder(folder: Path, name: str) -> Path:
    own = folder / name
    own.mkdir()
    return own


class Primary:
    """The server on kernel sockets (a program, or the twin of a native application), and the agent beside it."""

    def __init__(self, options: FailoverOptions, tools: Tools, topology: Topology, folder: Path, *,
                 returns: bool = False) -> None:
        """`returns`: it comes back after a takeover, and must not speak."""
        self._namespace = topology.primary
        self._port = options.port
        self._is_twin = options.server is None
        again = "-again" if returns else ""
        if self._is_twin:
            self.server = Program(f"twin{again}", topology.primary, [
                tools.path("understudy-twin"), "--listen", options.service_endpoint, "--app", options.app],
                folder)
        else:
            self.server = Program(f"server{again}", topology.primary, options.server_words,
                                  _own_folder(folder, f"primary{again}"))
        words = [tools.path("understudy-agent"), "--announce", f"lan0={options.service_address}",
                 "--event-log", str(folder / "agent.jsonl"), *_heartbeat_timing(options),
                 "--service", f"lan0={options.service_endpoint}",
                 *_heartbeat_key(folder)]
        if options.guard:
            self._wait_for_server()
            words += ["--guard", str(self.server.pid)]
        if options.hands_over:
            words += ["--on-stop", "switchover"]
        if returns:
            words += ["--hold-at-start-ms", "60000"]
        if options.repair:
            words += ["--repair", f"lan0={options.service_endpoint}"]
        for link in HEARTBEAT_LINKS:
            words += ["--heartbeat", f"{link.primary}:{HEARTBEAT_PORT},{link.replica}:{HEARTBEAT_PORT}"]
        self.agent = Program(f"agent{again}", topology.primary, words, folder)
        # Rules of its own before its link is there: nothing of it is heard.
        if returns:
            self.agent.wait_for_line("silenced", _READY_TIMEOUT_S)

    @property
    def programs(self) -> list[Program]:
        return [self.server, self.agent]

    def wait_until_ready(self) -> None:
        self._wait_for_server()

    def _wait_for_server(self) -> None:
        if self._is_twin:
            self.server.wait_for_line("ready", _READY_TIMEOUT_S)
            return
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._listens():
            self.server.expect_running()
            if time.monotonic() > deadline:
                raise RunFailed(f"the server did not listen on port {self._port} within {_READY_TIMEOUT_S:.0f} s")
            time.sleep(_POLL_S)

    def _listens(self) -> bool:
        done = subprocess.run(["ip", "netns", "exec", self._namespace, "ss", "-Htln", f"sport = :{self._port}"],
                              capture_output=True, text=True, timeout=_STATUS_TIMEOUT_S, check=False)
        return bool(done.stdout.strip())


class Replica:
    """understudyd: its event log is the run's source for what was decided, and when."""

    def __init__(self, options: FailoverOptions, tools: Tools, topology: Topology, folder: Path) -> None:
        self.log = EventLog(folder / "replica.jsonl")
        self._control = folder / "control"
        self._cli = tools.path("understudy")
        words = [tools.path("understudyd"),
                 "--service-port", _dpdk_port(1, "lan0", 4096),
                 "--service", options.replicated_service,
                 "--primary-link-address", PRIMARY_MAC,
                 "--link-address", REPLICA_MAC,
                 "--cores", str(options.cores),
                 "--control", str(self._control),
                 "--event-log", str(self.log.path),
                 *_heartbeat_timing(options),
                 *_heartbeat_key(folder)]
        if options.fence:
            hang_ms = max(_SHORTEST_HANG_MS, options.heartbeat_interval_ms * options.heartbeat_misses)
            words += ["--fence-command", topology.fence_command, "--service-hang-ms", str(hang_ms)]
        for i in range(len(options.mirror.ports)):
            words += ["--tap", _dpdk_port(2 * i, f"tap{i}", 8192)]
        if options.repair:
            words.append("--repair")
        if options.cold_start:
            words += ["--warm-start", "false"]
        for link in HEARTBEAT_LINKS:
            words += ["--heartbeat", f"{link.replica}:{HEARTBEAT_PORT},{link.primary}:{HEARTBEAT_PORT}"]
        self.program = Program("understudyd", topology.replica, words, folder)
        self._options = options
        self._namespace = topology.replica
        self._folder = folder
        self.server: Program | None = None

    @property
    def programs(self) -> list[Program]:
        """The replicated program last: what it holds ends with it, not with understudyd."""
        return [self.program, *([self.server] if self.server else [])]

    def start_server(self) -> None:
        """Starts the replicated program, where there is one, and waits until it listens."""
        if self._options.server is None:
            return
        words = [self._cli, "--control", str(self._control), "run", "--service", self._options.service_endpoint, "--",
                 *self._options.server_words]
        self.server = Program("replicated-server", self._namespace, words, _own_folder(self._folder, "replica"))
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._counter("shim.listening"):
            self.server.expect_running()
            if time.monotonic() > deadline:
                raise RunFailed(f"the replicated server did not listen within {_READY_TIMEOUT_S:.0f} s")
            time.sleep(_POLL_S)

    def _counter(self, name: str) -> int:
        counters = (self.ask("counters") or {}).get("counters", [])
        return next((int(entry["value"]) for entry in counters if entry["name"] == name), 0)

    def wait_until_ready(self) -> None:
        """Waits until its ports are polled: connections are seen from their SYN on."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while True:
            self.log.poll()
            if self.log.first("ready"):
                return
            self.program.expect_running()
            if time.monotonic() > deadline:
                raise RunFailed(f"understudyd was not ready within {_READY_TIMEOUT_S:.0f} s")
            time.sleep(_POLL_S)

    def wait_until_heartbeats_are_heard(self, interval_ms: int) -> None:
        timeout_s = 10.0 + 2 * interval_ms / 1000
        deadline = time.monotonic() + timeout_s
        while not self._all_links_alive():
            self.program.expect_running()
            if time.monotonic() > deadline:
                raise RunFailed(f"the replica did not hear the primary on all links within {timeout_s:.0f} s")
            time.sleep(_POLL_S)

    def ask(self, question: str) -> Any:
        """The answer of `understudy QUESTION --json`, or None if there is none in time."""
        try:
            done = subprocess.run([self._cli, "--control", str(self._control), question, "--json"],
                                  capture_output=True, text=True, timeout=_STATUS_TIMEOUT_S, check=False)
            return json.loads(done.stdout) if done.returncode == 0 else None
        except (subprocess.TimeoutExpired, ValueError):
            return None

    def command(self, *words: str) -> subprocess.Popen[str]:
        """`understudy WORDS`, without waiting for its end."""
        return subprocess.Popen([self._cli, "--control", str(self._control), *words], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, text=True)

    def attest(self, reason: str) -> None:
        """Vouches for the state of every program that has one: in the lab both begin empty."""
        services = (self.ask("status") or {}).get("services", [])
        if any(service.get("state") == "unproven" for service in services):
            subprocess.run([self._cli, "--control", str(self._control), "attest", "--reason", reason],
                           capture_output=True, timeout=_STATUS_TIMEOUT_S, check=True)

    def _all_links_alive(self) -> bool:
        links = (self.ask("status") or {}).get("links", [])
        return len(links) == len(HEARTBEAT_LINKS) and all(link.get("alive") for link in links)
