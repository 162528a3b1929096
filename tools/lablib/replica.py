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


class Primary:
    """The kernel-socket twin of the application, and the agent beside it."""

    def __init__(self, options: FailoverOptions, tools: Tools, topology: Topology, folder: Path) -> None:
        self.server = Program("twin", topology.primary, [
            tools.path("understudy-twin"), "--listen", options.service_endpoint, "--app", options.app],
            folder)
        words = [tools.path("understudy-agent"), "--announce", f"lan0={options.service_address}",
                 "--event-log", str(folder / "agent.jsonl"), *_heartbeat_timing(options),
                 *_heartbeat_key(folder)]
        if options.repair:
            words += ["--repair", f"lan0={options.service_endpoint}"]
        for link in HEARTBEAT_LINKS:
            words += ["--heartbeat", f"{link.primary}:{HEARTBEAT_PORT},{link.replica}:{HEARTBEAT_PORT}"]
        self.agent = Program("agent", topology.primary, words, folder)

    @property
    def programs(self) -> list[Program]:
        return [self.server, self.agent]

    def wait_until_ready(self) -> None:
        self.server.wait_for_line("ready", _READY_TIMEOUT_S)


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
        for i in range(len(options.mirror.ports)):
            words += ["--tap", _dpdk_port(2 * i, f"tap{i}", 8192)]
        if options.repair:
            words.append("--repair")
        for link in HEARTBEAT_LINKS:
            words += ["--heartbeat", f"{link.replica}:{HEARTBEAT_PORT},{link.primary}:{HEARTBEAT_PORT}"]
        self.program = Program("understudyd", topology.replica, words, folder)

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

    def attest(self, reason: str) -> None:
        """Vouches for the state of every program that has one: in the lab both begin empty."""
        services = (self.ask("status") or {}).get("services", [])
        if any(service.get("state") == "unproven" for service in services):
            subprocess.run([self._cli, "--control", str(self._control), "attest", "--reason", reason],
                           capture_output=True, timeout=_STATUS_TIMEOUT_S, check=True)

    def _all_links_alive(self) -> bool:
        links = (self.ask("status") or {}).get("links", [])
        return len(links) == len(HEARTBEAT_LINKS) and all(link.get("alive") for link in links)
