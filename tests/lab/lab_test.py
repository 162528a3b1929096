#!/usr/bin/python3
"""Lab tests: kernels as clients and primary, one case per call. Exit status 77: skipped, for want of root."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LAB = HERE.parents[1] / "tools" / "lab"
SKIPPED = 77
RUN_TIMEOUT_S = 60.0
NAMESPACE = re.compile(r"us(\d+)x\d+-[CPRS]$")
QUICK = ["--clients", "8", "--kill-after", "1", "--duration", "3", "--heartbeat-interval-ms", "10",
         "--heartbeat-misses", "3"]

Words = list[str]


def start(words: Words) -> subprocess.Popen[str]:
    return subprocess.Popen([str(LAB), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(lab: subprocess.Popen[str]) -> str:
    try:
        output, _ = lab.communicate(timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        # SIGTERM, not SIGKILL: it must take its namespaces with it.
        lab.terminate()
        output, _ = lab.communicate(timeout=RUN_TIMEOUT_S)
        raise AssertionError(f"no end within {RUN_TIMEOUT_S:.0f} s:\n{output}") from None
    return output


def namespaces_of(pid: int) -> Words:
    try:
        names = os.listdir("/run/netns")
    except FileNotFoundError:
        return []
    return [name for name in names if (match := NAMESPACE.match(name)) and int(match.group(1)) == pid]


def judge(words: Words, status: int = 0) -> dict[str, Any]:
    """Runs `tools/lab failover` and returns its JSON; the exit status must be the expected one."""
    return judge_all([words], status)[0]


def judge_all(runs: list[Words], status: int = 0) -> list[dict[str, Any]]:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.json" for number in range(len(runs))]
        labs = [start(["failover", *words, "--json", str(file)]) for words, file in zip(runs, files)]
        outputs = [finish(lab) for lab in labs]
        for lab, output, file in zip(labs, outputs, files):
            assert lab.returncode == status, f"status {lab.returncode}, expected {status}:\n{output}"
            assert not namespaces_of(lab.pid), f"left behind: {namespaces_of(lab.pid)}"
            results.append(json.loads(file.read_text(encoding="utf-8")))
    return results


def expect_survival(result: dict[str, Any], clients: int = 8) -> None:
    connections = result["connections"]
    assert result["verdict"] == "survived", result["reason"]
    assert connections == {"open_at_failure": clients, "survived": clients, "reset": 0, "stalled": 0}, connections
    assert result["bytes"]["wrong"] == 0 and result["bytes"]["checked"] > 0, result["bytes"]
    assert result["client"]["exit"] == 0, result["client"]
    assert result["replica_frames_before_takeover"] == 0
    assert result["arp_answers_before_takeover"] == 0


def expect_takeover(result: dict[str, Any]) -> None:
    expect_survival(result)
    # The deadline is three intervals after the last Hello: no decision can come sooner than two after the fault.
    assert result["detection_ms"] >= 20, result["detection_ms"]
    assert result["takeover_ms"] > 0, result["takeover_ms"]
    assert result["outage_ms"]["max"] >= result["outage_ms"]["p50"] > 0, result["outage_ms"]
    times = [event["at_ms"] for event in result["events"]]
    assert times == sorted(times) and len(times) > 5, result["events"]


def power_fault(*words: str) -> Callable[[], None]:
    return lambda: expect_takeover(judge([*QUICK, *words]))


def mirror_faults(*words: str, all_survive: bool = False) -> Callable[[], None]:
    def case() -> None:
        result = judge([*QUICK, "--clients", "40", *words])
        connections = result["connections"]
        # The lab itself holds the clients' fate against the coverage at the decision.
        assert result["verdict"] == "survived", result["reason"]
        assert connections["survived"] + connections["reset"] == connections["open_at_failure"] == 40, connections
        assert connections["reset"] == 0 or not all_survive, connections
        assert result["bytes"]["wrong"] == 0 and result["bytes"]["checked"] > 0, result["bytes"]
    return case


def repaired_losses() -> None:
    result = judge([*QUICK, "--clients", "40", "--mirror-loss", "0.5%", "--repair"])
    counters = {entry["name"]: int(entry["value"]) for entry in result["replica"]["counters"]["counters"]}
    assert result["verdict"] == "survived", result["reason"]
    assert counters["stack.repairs"] > 0 and counters["stack.repaired_bytes"] > 0, counters
    # A handshake is not repaired, nor what went missing just before the failure.
    assert result["connections"]["reset"] <= 8, result["connections"]
    assert result["bytes"]["wrong"] == 0 and result["bytes"]["checked"] > 0, result["bytes"]


def datagrams(*words: str) -> Callable[[], None]:
    def case() -> None:
        result = judge([*QUICK, "--app", "udp-echo", *words])
        expect_takeover(result)
        service, = result["replica"]["status"]["services"]
        counts = {name: int(value) for name, value in service["datagrams"].items()}
        assert service["endpoint"].endswith("/udp"), service
        # Half of the run was shadowed: what the application answered then was what the primary answered.
        assert counts["received"] == counts["answered"] > counts["matched"] > 0, counts
        assert counts["expired"] == 0 and counts["unmatched"] == 0, counts
    return case


def any_datagram_client() -> None:
    program = ("import socket,time; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.2); "
               "s.connect((\"{host}\",{port}));\n"
               "def ask(n):\n"
               "  for attempt in range(20):\n"
               "    s.send(b\"%08d\" % n)\n"
               "    try:\n"
               "      while s.recv(100) != b\"%08d\" % n: pass\n"
               "      return\n"
               "    except TimeoutError: pass\n"
               "  raise SystemExit(1)\n"
               "for n in range(250): ask(n); time.sleep(0.01)\n"
               "print(\"all answered\")")
    result = judge([*QUICK, "--app", "udp-echo", "--client", f"/usr/bin/python3 -c '{program}'"])
    assert result["verdict"] == "survived", result["reason"]
    assert result["client"] == {"exit": 0, "output": "all answered\n"}, result["client"]


def control_run() -> None:
    result = judge([*QUICK, "--fault", "none"])
    expect_survival(result)
    assert result["detection_ms"] is None and result["takeover_ms"] is None


def no_takeover(*words: str, probed: bool = False) -> Callable[[], None]:
    def case() -> None:
        result = judge([*QUICK, *words])
        connections = result["connections"]
        assert result["verdict"] == "survived", result["reason"]
        assert connections["survived"] == connections["open_at_failure"] == 8, connections
        assert result["detection_ms"] is None and result["takeover_ms"] is None
        # Where nobody speaks, only the primary's own word on the service LAN keeps the replica silent.
        assert result["address_probes_before_takeover"] > 0 or not probed
    return case


def any_client() -> None:
    program = ("import socket,time; s=socket.create_connection((\"{host}\",{port}));\n"
               "for n in range(250): s.sendall(b\"%08d\" % n); assert s.recv(8, socket.MSG_WAITALL) == b\"%08d\" % n; "
               "time.sleep(0.01)\n"
               "print(\"all answered\")")
    result = judge([*QUICK, "--client", f"/usr/bin/python3 -c '{program}'"])
    assert result["verdict"] == "survived", result["reason"]
    assert result["client"] == {"exit": 0, "output": "all answered\n"}, result["client"]
    assert result["connections"] == {"open_at_failure": 1, "survived": 1, "reset": 0, "stalled": 0}


def program(server: str, client: str, *words: str, connections: int) -> dict[str, Any]:
    """Any server by the shim: its client checks every byte itself, across the fault."""
    result = judge(["--server", server, "--port", "7777", "--client", client, "--kill-after", "4", "--duration", "30",
                    "--heartbeat-interval-ms", "20", *words])
    assert result["verdict"] == "survived", result["reason"]
    assert result["client"]["exit"] == 0, result["client"]
    assert result["connections"] == {"open_at_failure": connections, "survived": connections, "reset": 0,
                                     "stalled": 0}, result["connections"]
    return result


def redis() -> None:
    program("redis-server --port {port} --save '' --protected-mode no",
            f"{HERE}/redis_client.py {{host}} {{port}} 7", connections=3)


def asyncio_server() -> None:
    program(f"/usr/bin/python3 {HERE}/asyncio_server.py {{host}} {{port}}",
            f"{HERE}/request_client.py {{host}} {{port}} 7 10", connections=10)


def threaded_server() -> None:
    build = os.environ.get("UNDERSTUDY_BUILD", HERE.parents[1] / "build")
    program(f"{build}/tests/lab/threaded-server {{host}} {{port}}",
            f"{HERE}/request_client.py {{host}} {{port}} 7 10", connections=10)


NGINX = """worker_processes 2;
daemon off;
pid nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
    access_log off;
    sendfile on;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server { listen 10.77.0.1:7777; root FOLDER; }
}
"""


def nginx() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "nginx.conf").write_text(NGINX.replace("FOLDER", folder), encoding="ascii")
        os.chmod(folder, 0o755)
        Path(folder, "small").write_bytes(bytes(range(256)) * 4)
        # Not a multiple of anything, and no two blocks alike.
        big = b"".join(b"%07d\n" % number for number in range(4_000_003))
        Path(folder, "big").write_bytes(big)
        # Their answers differ by the date.
        program(f"/usr/sbin/nginx -p . -c {folder}/nginx.conf", f"{HERE}/nginx_client.py {{host}} {{port}} 7 {folder}",
                "--align", connections=5)


def failing_client() -> None:
    result = judge([*QUICK, "--client", "sleep 2; exit 3"], status=1)
    assert result["verdict"] == "failed"
    assert result["client"]["exit"] == 3, result["client"]


def takeover_by(*words: str, cause: str) -> Callable[[], None]:
    """The replica takes over, all survive, and the decision has this cause."""
    def case() -> None:
        result = judge([*QUICK, "--duration", "4", *words])
        expect_survival(result)
        decided = [event["what"] for event in result["events"] if event["what"].startswith("decision")]
        assert len(decided) == 1, result["events"]
        evidence = result["replica"]["status"]["last_evidence"]
        assert evidence.startswith(cause), evidence
        assert result["replica"]["status"]["mode"] == "master", result["replica"]["status"]
    return case


def service_process() -> None:
    result = judge([*QUICK, "--fault", "process", "--churn", "100"])
    expect_survival(result)
    assert result["replica"]["status"]["last_evidence"].startswith("agent's word"), result["replica"]["status"]


def service_process_unguarded() -> None:
    # The dying kernel's FIN reaches every client.
    result = judge([*QUICK, "--fault", "process", "--no-guard"], status=1)
    assert result["verdict"] == "failed" and result["connections"]["survived"] == 0, result


def primary_that_returns(fault: str) -> Callable[[], None]:
    def case() -> None:
        result = judge([*QUICK, "--duration", "5", "--fault", fault])
        expect_survival(result)
        status = result["replica"]["status"]
        assert status["mode"] == "master" and status["agent"] == "standing by, silenced", status
        counters = {entry["name"]: int(entry["value"]) for entry in result["replica"]["counters"]["counters"]}
        assert counters["stack.address_conflicts"] == 0 and counters["decision.reasserted"] == 0, counters
    return case


def bulk_download() -> None:
    # One bandwidth-delay product is on its way when the primary dies (rules.md 32).
    words = ["--app", "source", "--clients", "1", "--path-rate", "100mbit", "--path-delay", "40ms", "--kill-after", "2",
             "--duration", "4", "--heartbeat-interval-ms", "10", "--heartbeat-misses", "3"]
    bar, full, tries = 0.8, 90.0, 3

    def ratio(*more: str) -> float:
        for _ in range(tries):
            result = judge([*words, *more])
            assert result["verdict"] == "survived", result["reason"]
            throughput = result["throughput_mbit"]
            # Where the machine had no time for the primary there is nothing to compare with.
            if throughput["before"] >= full:
                break
        return float(throughput["ratio"])

    warm, cold = ratio(), ratio("--cold-start")
    assert warm >= bar > cold, f"{warm} with the primary's window, {cold} with that of a new connection"


def captures() -> None:
    with tempfile.TemporaryDirectory() as folder:
        expect_takeover(judge([*QUICK, "--pcap", folder]))
        sizes = {file.name: file.stat().st_size for file in Path(folder).iterdir()}
        assert set(sizes) == {"client-port.pcap", "tap.pcap", "service-port.pcap"}, sizes
        assert all(size > 1000 for size in sizes.values()), sizes


def side_by_side() -> None:
    for result in judge_all([QUICK, [*QUICK, "--app", "ticker"]]):
        expect_survival(result)


def wait_for_namespaces(lab: subprocess.Popen[str], count: int) -> None:
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while len(namespaces_of(lab.pid)) < count:
        assert lab.poll() is None, f"it ended:\n{lab.communicate()[0]}"
        assert time.monotonic() < deadline, "the namespaces did not appear"
        time.sleep(0.01)


def stopped_by(number: int) -> Callable[[], None]:
    def case() -> None:
        lab = start(["failover", *QUICK])
        wait_for_namespaces(lab, 4)
        lab.send_signal(number)
        output = finish(lab)
        assert lab.returncode == 128 + number, f"status {lab.returncode}:\n{output}"
        assert not namespaces_of(lab.pid)
    return case


def crashed_run() -> None:
    lab = start(["failover", *QUICK])
    wait_for_namespaces(lab, 4)
    lab.kill()
    lab.wait()
    assert namespaces_of(lab.pid), "a killed lab cannot clean up; the case proves nothing"
    cleaner = start(["clean"])
    output = finish(cleaner)
    assert cleaner.returncode == 0, output
    assert not namespaces_of(lab.pid), namespaces_of(lab.pid)


def usage_errors() -> None:
    refused: list[Words] = [
        [],
        ["dance"],
        ["failover", "--unheard-of"],
        ["failover", "--app", "chess"],
        ["failover", "--fault", "fire"],
        ["failover", "--churn", "10", "--app", "ticker"],
        ["failover", "--clients", "0"],
        ["failover", "--rate", "nan"],
        ["failover", "--app", "udp-echo", "--message-bytes", "7"],
        ["failover", "--app", "source", "--message-bytes", "75"],
        ["failover", "--path-rate", "100mbit"],
        ["failover", "--path-rate", "100", "--path-delay", "40ms"],
        ["failover", "--port", "0"],
        ["failover", "--server", "cat", "--port", "1"],
        ["failover", "--server", "no-such-program", "--client", "true"],
        ["failover", "--align"],
        ["failover", "--duration", "1", "--kill-after", "2"],
        ["failover", "--json", "/nowhere/at/all.json"],
        ["failover", "--build-dir", "/nowhere"],
    ]
    for words in refused:
        lab = start(words)
        output = finish(lab)
        assert lab.returncode == 2, f"{words}: status {lab.returncode}:\n{output}"
        assert len(output.splitlines()) == 1, f"{words}: not one line:\n{output}"


CASES: dict[str, Callable[[], None]] = {
    "echo": power_fault("--app", "echo"),
    "two-cores": power_fault("--app", "echo", "--cores", "2"),
    "ipv6": power_fault("--ip", "6"),
    "ticker": power_fault("--app", "ticker"),
    "udp": datagrams(),
    "udp-ipv6": datagrams("--ip", "6"),
    "udp-two-cores": datagrams("--cores", "2"),
    "udp-any-client": any_datagram_client,
    "discard": power_fault("--app", "discard"),
    "mirror-primary-port": power_fault("--mirror", "primary-port"),
    "mirror-uplink": power_fault("--mirror", "uplink"),
    "mirror-both": power_fault("--mirror", "both"),
    "repair": power_fault("--repair"),
    "repair-loss": repaired_losses,
    "mirror-both-loss": mirror_faults("--mirror", "both", "--mirror-loss", "0.2%"),
    "mirror-loss": mirror_faults("--mirror-loss", "0.2%"),
    "mirror-order": mirror_faults("--mirror-reorder", "3%", "--mirror-duplicate", "3%", all_survive=True),
    "control-run": control_run,
    "heartbeat-cut": no_takeover("--fault", "heartbeat-cut"),
    "heartbeat-cut-idle": no_takeover("--fault", "heartbeat-cut", "--rate", "0", probed=True),
    "heartbeat-cut-idle-ipv6": no_takeover("--fault", "heartbeat-cut", "--rate", "0", "--ip", "6", probed=True),
    "one-link-cut": no_takeover("--fault", "one-link-cut", "--rate", "0"),
    "mirror-cut": no_takeover("--fault", "mirror-cut"),
    "any-client": any_client,
    "redis": redis,
    "nginx": nginx,
    "asyncio-server": asyncio_server,
    "threaded-server": threaded_server,
    "failing-client": failing_client,
    "stall": no_takeover("--duration", "4", "--fault", "stall"),
    "stall-idle": no_takeover("--duration", "4", "--fault", "stall", "--rate", "0"),
    "service-link": takeover_by("--fault", "link", cause="agent's word"),
    "freeze": takeover_by("--fault", "freeze", cause="service hang"),
    "process": service_process,
    "process-unguarded": service_process_unguarded,
    "return": primary_that_returns("return"),
    "return-link": primary_that_returns("return-link"),
    "switchover": takeover_by("--fault", "switchover", cause="switchover"),
    "shutdown": takeover_by("--fault", "shutdown", cause="agent's word"),
    "bulk-download": bulk_download,
    "captures": captures,
    "side-by-side": side_by_side,
    "interrupted": stopped_by(signal.SIGINT),
    "terminated": stopped_by(signal.SIGTERM),
    "crashed-run": crashed_run,
    "usage-errors": usage_errors,
}


def main(words: Words) -> int:
    if len(words) != 1 or words[0] not in CASES:
        print(f"usage: lab_test.py {'|'.join(CASES)}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("skipped: network namespaces need root")
        return SKIPPED
    CASES[words[0]]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
