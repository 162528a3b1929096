#!/usr/bin/python3
"""Interoperation tests: the stack against a kernel's sockets, in both roles, over a bad link.

One group of cases per call. Exit status 77: skipped, for want of root.
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from network import CONGESTION_CONTROLS, KERNEL_ADDRESS, KERNEL_LINK, OTHER_ADDRESS, OTHER_LINK, ROOT, Network

from lablib.errors import EnvironmentProblem, Interrupted, RunFailed
from lablib.process import Program
from lablib.stop_signals import deferred, interrupting
from lablib.topology import remove_leftovers

SKIPPED = 77
READY_TIMEOUT_S = 10.0
KERNEL_PEER = str(Path(__file__).resolve().parent / "kernel_peer.py")
ANSWER_LAST, RESET_BY_SERVER, RESET_BY_CLIENT = 1, 2, 4
MIB = 1 << 20
OURS_SERVES, KERNEL_SERVES = "ours serves", "the kernel serves"
ROLES = (OURS_SERVES, KERNEL_SERVES)

# How a link is bad.
LOSS = "--loss 10000 --delay-us 2000"
HEAVY_LOSS = "--loss 50000 --delay-us 1000"
REORDERING = "--reorder 50000 --reorder-delay-us 3000 --delay-us 1000"
DUPLICATION = "--duplicate 50000 --reorder-delay-us 500 --delay-us 500"
JITTER = "--delay-us 3000 --jitter-us 3000"
NARROW = "--rate-mbit 40 --queue-bytes 60000 --delay-us 5000"
ALL_AT_ONCE = "--loss 10000 --duplicate 10000 --reorder 20000 --reorder-delay-us 2000 --delay-us 2000 " \
              "--jitter-us 500 --rate-mbit 200 --queue-bytes 200000"


@dataclass(frozen=True)
class Case:
    """One transfer, or many alike at once. Sizes are of each connection."""

    name: str
    link: str = ""
    up: int = 0
    down: int = 0
    connections: int = 1
    flags: int = 0
    server_reads: int = 0
    server_pause_us: int = 0
    client_reads: int = 0
    client_pause_us: int = 0
    receive_buffer: int = 0
    congestion_control: str = "cubic"
    timeout_s: float = 40.0

    @property
    def request(self) -> list[str]:
        return ["--connections", str(self.connections), "--up", str(self.up), "--down", str(self.down),
                "--flags", str(self.flags), "--server-reads", str(self.server_reads),
                "--server-pause-us", str(self.server_pause_us), "--reads", str(self.client_reads),
                "--pause-us", str(self.client_pause_us)]


def both_ways(case: Case) -> list[Case]:
    return [replace(case, name=f"{case.name}, up", down=0), replace(case, name=f"{case.name}, down", up=0)]


def with_each_congestion_control(cases: list[Case]) -> list[Case]:
    return [replace(case, name=f"{case.name}, {name}", congestion_control=name)
            for case in cases for name in CONGESTION_CONTROLS]


GROUPS: dict[str, list[Case]] = {
    "sizes": [Case(f"{size} bytes", up=size, down=size)
              for size in (0, 1, 2, 1407, 1408, 1448, 1449, 1460, 1461, 14_600, 65_535, 65_536, MIB)],
    "bulk": [Case("256 MiB, both directions at once", up=256 * MIB, down=256 * MIB)],
    "bulk-one-way": both_ways(Case("64 MiB", up=64 * MIB, down=64 * MIB)),
    "loss": with_each_congestion_control(both_ways(Case("1 % loss", LOSS, MIB, MIB))) + [
        Case("5 % loss", HEAVY_LOSS, 300_000, 300_000)],
    "reordering": [Case("5 % overtaken", REORDERING, 2 * MIB, 2 * MIB),
                   Case("5 % doubled", DUPLICATION, 2 * MIB, 2 * MIB),
                   Case("jitter", JITTER, 2 * MIB, 2 * MIB),
                   Case("everything", ALL_AT_ONCE, 2 * MIB, 2 * MIB)],
    "rate": with_each_congestion_control(both_ways(Case("40 Mbit/s, short queue", NARROW, 3 * MIB, 3 * MIB))),
    "many": [Case("1 000 connections", up=3000, down=3000, connections=1000),
             Case("1 000 connections, loss", "--loss 10000 --delay-us 1000", 3000, 3000, connections=1000),
             Case("50 connections, one bottleneck", NARROW, 100_000, 100_000, connections=50)],
    "endings": [Case("answer on a half-closed connection", up=100_000, down=MIB, flags=ANSWER_LAST),
                Case("answer on a half-closed connection, loss", LOSS, 100_000, 300_000, flags=ANSWER_LAST),
                Case("reset by the server", up=200_000, flags=RESET_BY_SERVER),
                Case("reset by the client", down=MIB, flags=RESET_BY_CLIENT),
                Case("20 short ones, heavy loss", HEAVY_LOSS, 10, 10, connections=20)],
    "slow-readers": [Case("slow server, closed window", up=400_000, server_reads=4000, server_pause_us=20_000,
                          receive_buffer=16_000),
                     Case("slow client, closed window", down=400_000, client_reads=4000, client_pause_us=20_000,
                          receive_buffer=16_000),
                     Case("slow client, loss", LOSS, down=200_000, client_reads=8000, client_pause_us=20_000,
                          receive_buffer=16_000),
                     Case("server asleep most of the time", up=60_000, server_reads=20_000,
                          server_pause_us=600_000, receive_buffer=8000)],
}


class Bench:
    """Where programs run: the network, the build, a folder for their words."""

    def __init__(self, network: Network, folder: Path, build: Path) -> None:
        self.network, self.folder = network, folder
        self.impair = str(build / "tests/interop/impair")
        self.endpoint = str(build / "tests/interop/interop_endpoint")
        self._programs: list[Program] = []
        self._port = 7000

    def next_port(self) -> int:
        # No case meets the TIME-WAIT of an earlier one.
        self._port += 1
        return self._port

    def start(self, name: str, namespace: str, words: list[str], ready: bool) -> Program:
        program = Program(f"{name}-{len(self._programs)}", namespace, words, self.folder)
        self._programs.append(program)
        if ready:
            program.wait_for_line("ready", READY_TIMEOUT_S)
        return program

    def stop_all(self) -> None:
        for program in self._programs:
            program.kill()


def last_json(program: Program) -> dict[str, Any]:
    lines = program.output(1 << 20).splitlines()
    try:
        return dict(json.loads(lines[-1]))
    except (IndexError, ValueError):
        raise AssertionError(f"{program.name} gave no result: {' / '.join(lines[-3:])}") from None


def end(program: Program, timeout_s: float) -> dict[str, Any]:
    if program.wait(timeout_s) is None:
        program.stop()
    return last_json(program)


def run_case(bench: Bench, case: Case, role: str, number: int) -> dict[str, Any]:
    network, port = bench.network, bench.next_port()
    link = bench.start("impair", network.link, [bench.impair, "l0", "t0", "--seed", str(number),
                                                *shlex.split(case.link)], ready=True)
    buffer = ["--receive-buffer", str(case.receive_buffer)]
    kernel = [KERNEL_PEER, "server" if role == KERNEL_SERVES else "client",
              "--address", KERNEL_ADDRESS if role == KERNEL_SERVES else OTHER_ADDRESS, "--port", str(port),
              "--congestion-control", case.congestion_control, "--timeout", str(case.timeout_s), *buffer]
    ours = [bench.endpoint, "--tap", "t0", "--link-address", OTHER_LINK, "--address", OTHER_ADDRESS,
            "--timeout", str(case.timeout_s), *buffer]
    request = [*case.request, "--key", str(number)]
    if role == OURS_SERVES:
        server = bench.start("ours", network.link, [*ours, "--port", str(port)], ready=True)
        client = bench.start("kernel", network.kernel, [*kernel, *request], ready=False)
    else:
        server = bench.start("kernel", network.kernel, kernel, ready=True)
        client = bench.start("ours", network.link, [
            *ours, "--port", "20000", "--remote", f"{KERNEL_ADDRESS}:{port}", "--remote-link", KERNEL_LINK,
            *request], ready=False)
    result = {"client": end(client, case.timeout_s + 5)}
    server.stop()
    result["server"] = last_json(server)
    link.stop()
    result["link"] = last_json(link)
    return result


def judge(case: Case, result: dict[str, Any]) -> None:
    for side in ("client", "server"):
        told = result[side]
        assert told["finished"] == case.connections and not told["faulty"], f"{side}: {json.dumps(told)}"
        assert not told.get("open"), f"{side}: {told['open']} connections never ended"
    client, server = result["client"], result["server"]
    if not case.flags & RESET_BY_CLIENT:
        assert server["received"] == case.up * case.connections, server
        if not case.flags & RESET_BY_SERVER:
            assert client["received"] == case.down * case.connections, client


@contextmanager
def bench_for(build: Path, with_second_kernel: bool = False) -> Iterator[Bench]:
    with interrupting(), tempfile.TemporaryDirectory(prefix="interop-") as folder:
        with deferred():
            remove_leftovers()
        network = Network(with_second_kernel)
        bench = Bench(network, Path(folder), build)
        try:
            with deferred():
                network.build()
            yield bench
        finally:
            with deferred():
                bench.stop_all()
                network.remove()


def run_group(bench: Bench, cases: list[Case], roles: tuple[str, ...]) -> int:
    failed = 0
    for number, case in enumerate(cases, 1):
        for role in roles:
            begin = time.monotonic()
            verdict = "ok"
            try:
                judge(case, run_case(bench, case, role, number))
            except (AssertionError, RunFailed) as problem:
                verdict = f"FAILED: {problem}"
                failed += 1
            print(f"{case.name}; {role}: {verdict} ({time.monotonic() - begin:.1f} s)", flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="Needs root.")
    parser.add_argument("group", choices=[*GROUPS, "all"])
    parser.add_argument("--case", help="only cases whose name holds this")
    parser.add_argument("--role", choices=ROLES, help="only one")
    words = parser.parse_args()
    if os.geteuid() != 0:
        print("skipped: network namespaces need root")
        return SKIPPED
    build = Path(os.environ.get("UNDERSTUDY_BUILD") or ROOT / "build").absolute()
    groups = GROUPS.values() if words.group == "all" else [GROUPS[words.group]]
    cases = [case for group in groups for case in group if (words.case or "") in case.name]
    try:
        with bench_for(build) as bench:
            return 1 if run_group(bench, cases, (words.role,) if words.role else ROLES) else 0
    except EnvironmentProblem as problem:
        print(f"interop_test.py: {problem}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        print(f"interop_test.py: {stop}", file=sys.stderr)
        return 128 + stop.signal_number


if __name__ == "__main__":
    sys.exit(main())
