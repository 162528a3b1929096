#!/usr/bin/python3
"""Runs every check on kernel sockets and in another way, and compares what both sides of each check saw.

usage: conformance_test.py SHIM-CONFORMANCE WAY [CHECK...]

WAY is preload (`understudy run`), seccomp (`understudy run --seccomp`), or kernel: the same way again, which shows
that a difference is never the checks' own. Exit status: 0 no difference, 1 some, 77 skipped, for want of root.
"""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from lablib.command import run  # noqa: E402  # pylint: disable=wrong-import-position
from lablib.errors import RunFailed  # noqa: E402  # pylint: disable=wrong-import-position
from lablib.options import FailoverOptions, default_build_dir  # noqa: E402  # pylint: disable=wrong-import-position
from lablib.process import Program, Tools  # noqa: E402  # pylint: disable=wrong-import-position
from lablib.replica import Replica  # noqa: E402  # pylint: disable=wrong-import-position
from lablib.topology import Mirror, Topology  # noqa: E402  # pylint: disable=wrong-import-position

SKIPPED = 77
WAYS = ("kernel", "preload", "seccomp")
READY_TIMEOUT_S = 30.0
CLIENT_TIMEOUT_S = 150.0

Transcripts = dict[str, list[str]]


def parse(output: str) -> Transcripts:
    transcripts: Transcripts = {}
    lines: list[str] = []
    for line in output.splitlines():
        if line.startswith("== "):
            lines = transcripts.setdefault(line[3:], [])
        else:
            lines.append(line)
    return transcripts


@dataclass
class Expectation:
    """A difference that is known and documented (docs/shim.md)."""

    check: str
    line: re.Pattern[str]
    reason: str
    sometimes: bool = False
    met: bool = False

    def covers(self, check: str, line: str) -> bool:
        if check != self.check or self.line.fullmatch(line) is None:
            return False
        self.met = True
        return True


def read_expectations() -> list[Expectation]:
    text = (Path(__file__).parent / "expected_differences.toml").read_text(encoding="utf-8")
    return [Expectation(entry["check"], re.compile(line), entry["reason"], entry.get("sometimes", False))
            for entry in tomllib.loads(text).get("expected", []) for line in entry["lines"]]


def compare(kernel: Transcripts, other: Transcripts, expectations: list[Expectation]) -> Iterator[str]:
    """Yields what differs and is not expected."""
    for check, lines in kernel.items():
        seen = other.get(check)
        if seen is None:
            yield f"{check}: did not run"
            continue
        for ours, theirs in zip_longest(lines, seen, fillvalue="nothing"):
            if ours != theirs and not any(known.covers(check, theirs) for known in expectations):
                yield f"{check}: the kernel says \"{ours}\", this way \"{theirs}\""


class Lab:
    """The namespaces, and what runs in them."""

    def __init__(self, conformance: str, folder: Path, checks: list[str]) -> None:
        self._conformance = conformance
        self._folder = folder
        self._checks = checks
        self._options = FailoverOptions(build_dir=default_build_dir())
        self._tools = Tools(self._options.build_dir)
        self._topology = Topology(Mirror.UPLINK)
        self._programs: list[Program] = []

    def __enter__(self) -> "Lab":
        self._topology.build()
        return self

    def __exit__(self, *_: object) -> None:
        for program in reversed(self._programs):
            program.kill()
        self._topology.remove()

    def kernel(self) -> Transcripts:
        return self._run_checks("kernel", self._topology.primary, [])

    def replicated(self, way: str) -> Transcripts:
        """The primary is cut off, and a replica that is master serves its address."""
        run("ip", "-n", self._topology.primary, "link", "set", "lan0", "down")
        options = FailoverOptions(server="shim-conformance", build_dir=self._options.build_dir)
        replica = Replica(options, self._tools, self._topology, self._folder)
        self._programs.append(replica.program)
        replica.wait_until_ready()
        command = [self._tools.path("understudy"), "--control", str(self._folder / "control")]
        run(*command, "promote", "--force")
        command += ["run", "--service", options.service_endpoint]
        command += ["--seccomp"] if way == "seccomp" else []
        return self._run_checks(way, self._topology.replica, [*command, "--"])

    def _run_checks(self, way: str, namespace: str, prefix: list[str]) -> Transcripts:
        # Apart from the network under test: a socket file crosses namespaces.
        control = str(self._folder / f"{way}.socket")
        service = self._options.service_endpoint
        server = Program(f"server-{way}", namespace, [*prefix, self._conformance, "server", service, control],
                         self._folder)
        self._programs.append(server)
        server.wait_for_line("ready", READY_TIMEOUT_S)
        done = subprocess.run(
            ["ip", "netns", "exec", self._topology.client, self._conformance, "client", service, control, *self._checks],
            capture_output=True, text=True, timeout=CLIENT_TIMEOUT_S, check=False)
        if not done.stdout:
            raise RunFailed(f"the client of way {way} said nothing: {done.stderr.strip()}")
        if way == "kernel" and done.returncode != 0:
            raise RunFailed("a check does not run on the kernel:\n" +
                            "\n".join(line for line in done.stdout.splitlines() if "broken" in line))
        server.kill()
        Path(control).unlink(missing_ok=True)
        return parse(done.stdout)


def main(words: list[str]) -> int:
    if len(words) < 2 or words[1] not in WAYS:
        print(__doc__, file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("skipped: network namespaces need root")
        return SKIPPED
    conformance, way, *checks = words
    with tempfile.TemporaryDirectory() as folder, Lab(str(Path(conformance).resolve()), Path(folder), checks) as lab:
        kernel = lab.kernel()
        other = lab.kernel() if way == "kernel" else lab.replicated(way)
    expectations = read_expectations() if way != "kernel" else []
    differences = list(compare(kernel, other, expectations))
    # What is no longer different must not be documented as such.
    differences += [f"{known.check}: no longer differs in \"{known.line.pattern}\"" for known in expectations
                    if not (known.met or known.sometimes) and known.check in kernel]
    for difference in differences:
        print(difference)
    print(f"{len(differences)} differences of {len(kernel)} checks")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
