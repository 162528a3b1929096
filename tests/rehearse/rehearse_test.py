#!/usr/bin/python3
"""understudy rehearse on captures of our own making, and on captures of the world with known answers."""

import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

BUILD = Path(os.environ["UNDERSTUDY_BUILD"])
PROGRAM = BUILD / "tools" / "cli" / "understudy"
CAPTURES = os.environ.get("UNDERSTUDY_CAPTURES")
TIMEOUT_S = 120.0
MOST_FILES = 25
TUNNELS = "pbb,mpls,pppoe,gre,erspan,vxlan,geneve,ipip,etherip,teredo,gtp"

CLIENT, SERVER = (bytes([10, 77, 0, 100]), 40000), (bytes([10, 77, 0, 1]), 7000)
SERVICE = "10.77.0.1:7000"
CLIENT_ISN, SERVER_ISN = 1000, 4_294_967_000
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
ETHERTYPE_IPV4, TCP, UDP = 0x0800, 6, 17
LINKTYPE_ETHERNET = 1


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: bytes, target: bytes, protocol: int, payload: bytes) -> bytes:
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0, source, target)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return b"\2\0\0\0\0\1" + b"\2\0\0\0\0\2" + struct.pack("!H", ETHERTYPE_IPV4) + header + payload


class Capture:
    """One conversation: what is said, and when, in seconds."""

    def __init__(self, client_port: int = CLIENT[1]) -> None:
        self.frames: list[tuple[float, bytes]] = []
        self._ports = {True: (client_port, SERVER[1]), False: (SERVER[1], client_port)}
        self._next = {True: CLIENT_ISN, False: SERVER_ISN}

    def _add(self, at: float, by_client: bool, protocol: int, segment: bytes, checksum_at: int) -> None:
        source, target = (CLIENT[0], SERVER[0]) if by_client else (SERVER[0], CLIENT[0])
        pseudo = source + target + struct.pack("!BBH", 0, protocol, len(segment))
        value = struct.pack("!H", checksum(pseudo + segment))
        segment = segment[:checksum_at] + value + segment[checksum_at + 2:]
        self.frames.append((at, ipv4(source, target, protocol, segment)))

    def tcp(self, at: float, by_client: bool, flags: int, payload: bytes = b"", *, shown: bool = True) -> None:
        sequence, acknowledged = self._next[by_client] % 2**32, self._next[not by_client] % 2**32
        options = b"\2\4\5\xb4" if flags & SYN else b""
        header = struct.pack("!HHIIBBHHH", *self._ports[by_client], sequence, acknowledged if flags & ACK else 0,
                             (20 + len(options)) << 2, flags, 65535, 0, 0)
        self._next[by_client] += len(payload) + bool(flags & (SYN | FIN))
        if shown:
            self._add(at, by_client, TCP, header + options + payload, 16)

    def udp(self, at: float, by_client: bool, payload: bytes) -> None:
        header = struct.pack("!HHHH", *self._ports[by_client], 8 + len(payload), 0)
        self._add(at, by_client, UDP, header + payload, 6)

    def handshake(self, at: float = 0.0) -> None:
        self.tcp(at, True, SYN)
        self.tcp(at + 0.001, False, SYN | ACK)
        self.tcp(at + 0.002, True, ACK)

    def exchange(self, at: float, request: bytes, answer: bytes) -> None:
        self.tcp(at, True, ACK | PSH, request)
        self.tcp(at + 0.001, False, ACK | PSH, answer)
        self.tcp(at + 0.002, True, ACK)

    def close(self, at: float) -> None:
        self.tcp(at, True, FIN | ACK)
        self.tcp(at + 0.001, False, FIN | ACK)
        self.tcp(at + 0.002, True, ACK)

    def write(self, file: Path) -> None:
        data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, LINKTYPE_ETHERNET)
        for at, frame in sorted(self.frames, key=lambda entry: entry[0]):
            data += struct.pack("<IIII", 1_700_000_000 + int(at), int(at % 1 * 1e6), len(frame), len(frame)) + frame
        file.write_bytes(data)


def rehearse(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, "rehearse", *words], capture_output=True, text=True, timeout=TIMEOUT_S,
                          check=False)


def play(capture: Capture, *words: str, app: str = "echo", status: int = 0) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "own.pcap"
        capture.write(file)
        common = ["--pcap", str(file), "--service", SERVICE, "--app", app, *words]
        done = rehearse(*common, "--json")
        assert done.returncode == status, f"status {done.returncode}, expected {status}:\n{done.stdout}{done.stderr}"
        text = rehearse(*common)
        assert text.returncode == status and "verdict" in text.stdout, text
        report = json.loads(done.stdout)
        report["text"] = text.stdout
        return dict(report)


def equal_answers_are_fit() -> None:
    capture = Capture()
    capture.handshake()
    capture.exchange(0.1, b"hello", b"hello")
    capture.exchange(0.2, b" world", b" world")
    capture.close(0.3)
    report = play(capture)
    connection, = report["connections"]
    assert report["fit"] and report["judged"] == report["covered"] == 1, report
    assert connection["coverage"] == "covered" and connection["closed"] == "finished", connection
    assert connection["row"]["bytes_received"] == connection["row"]["bytes_sent"] == "11", connection
    assert connection["largest_lag_bytes"] == 0, connection
    assert report["frames"] == report["service_frames"] == 12, report


def a_difference_is_shown() -> None:
    capture = Capture()
    capture.handshake()
    capture.exchange(0.1, b"hello", b"hello")
    capture.exchange(0.2, b"today", b"tonay")
    report = play(capture, "--takeover-at", "0.15,0.25", status=1)
    connection, = report["connections"]
    difference = connection["row"]["difference"]
    assert connection["coverage"] == "diverged" and connection["row"]["detail"] == "7", connection
    assert difference["application"]["text"].endswith("day"), difference
    assert difference["primary"]["text"].endswith("nay"), difference
    assert [turn["coverage"] for turn in connection["turns"]][-2:] == ["covered", "diverged"], connection
    assert "differs at byte 7" in report["text"], report["text"]
    before, after = report["takeovers"]
    assert before["promoted"] == 1 and before["reset"] == 0 and before["covered"] == 1, before
    assert after["promoted"] == 0 and after["reset"] == 1 and after["covered"] == 0, after
    assert any("RST" in frame["kind"] and frame["client"] == "10.77.0.100:40000" for frame in after["frames"]), after


def a_takeover_answers_what_the_primary_left() -> None:
    capture = Capture()
    capture.handshake()
    capture.exchange(0.1, b"hello", b"hello")
    capture.tcp(0.2, True, ACK | PSH, b"anybody?")
    report = play(capture, "--takeover-at", "0.0015,0.15,0.3")
    half_open, idle, waiting = report["takeovers"]
    assert half_open["half_open"] == 1, half_open
    assert any(frame["kind"] == "SYN,ACK" for frame in half_open["frames"]), half_open
    assert idle["promoted"] == waiting["promoted"] == 1, (idle, waiting)
    assert not [frame for frame in idle["frames"] if frame["payload_bytes"]], idle
    data = [frame for frame in waiting["frames"] if frame["payload_bytes"]]
    assert [(frame["offset"], frame["payload_bytes"]) for frame in data] == [(5, 8)], waiting
    assert any(frame["kind"] == "ARP" for frame in waiting["frames"]), "nobody would know where the address is"
    assert "5 to 13" in report["text"], report["text"]


def a_hole_is_no_fault_of_the_server_but_none_the_less_uncovered() -> None:
    capture = Capture()
    capture.handshake()
    capture.exchange(0.1, b"hello", b"hello")
    capture.tcp(0.2, True, ACK | PSH, b"lost", shown=False)
    capture.tcp(0.201, False, ACK | PSH, b"lost")
    capture.tcp(0.202, True, ACK)
    report = play(capture, status=1)
    connection, = report["connections"]
    assert connection["coverage"] == "hole" and connection["row"]["detail"] == "5", connection


def an_application_that_does_not_answer_is_behind() -> None:
    capture = Capture()
    capture.handshake()
    capture.exchange(0.1, b"hello", b"hello")
    report = play(capture, app="discard", status=1)
    connection, = report["connections"]
    assert report["covered"] == 0 and connection["largest_lag_bytes"] == 5, connection


def what_began_earlier_is_not_judged() -> None:
    older = Capture(40001)
    older.handshake()
    older.frames.clear()
    older.exchange(0.1, b"hello", b"hello")
    report = play(older, status=1)
    assert report["judged"] == 0 and [c["coverage"] for c in report["connections"]] == ["too_old"], report
    younger = Capture()
    younger.handshake(0.2)
    younger.exchange(0.3, b"hello", b"hello")
    younger.frames += older.frames
    report = play(younger)
    assert report["judged"] == report["covered"] == 1 and len(report["connections"]) == 2, report


def datagrams() -> None:
    capture = Capture()
    for second in range(3):
        capture.udp(second, True, b"question")
        capture.udp(second + 0.001, False, b"question")
    report = play(capture, app="udp-echo")
    service, = report["datagram_services"]
    assert service == {"received": 3, "answered": 3, "matched": 3, "expired": 0, "unmatched": 0}, service
    capture.udp(4, True, b"question")
    capture.udp(4.001, False, b"an answer")
    service, = play(capture, app="udp-echo", status=1)["datagram_services"]
    assert service["expired"] == service["unmatched"] == 1, service


def wrong_checksums_are_losses() -> None:
    capture = Capture()
    capture.handshake()
    capture.exchange(0.1, b"hello", b"hello")
    at, request = capture.frames[3]
    capture.frames[3] = (at, request[:-1] + b"!")
    report = play(capture, status=1)
    connection, = report["connections"]
    assert report["refused_checksums"] == {"wrong": 1, "unfilled": 0}, report
    assert connection["coverage"] == "hole" and "1 have a wrong checksum" in report["text"], report


def recorded_time_says_the_same() -> None:
    capture = Capture()
    capture.handshake()
    capture.exchange(0.1, b"hello", b"hello")
    reports = [play(capture, "--time", time) for time in ("virtual", "recorded")]
    for report in reports:
        del report["capture"], report["text"]
    assert reports[0] == reports[1], reports


def what_cannot_be_used_is_told_in_one_line() -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole, text = Path(folder) / "whole.pcap", Path(folder) / "text.pcap"
        capture = Capture()
        capture.handshake()
        capture.exchange(0.1, b"hello", b"hello")
        capture.write(whole)
        text.write_text("not a capture\n", encoding="ascii")
        good = ["--pcap", str(whole), "--service", SERVICE]
        refused = [
            [],
            good,
            [*good, "--app", "chess"],
            [*good, "--app", "echo", "--", "cat"],
            [*good, "--", "cat"],
            [*good, "--app", "echo", "--time", "warped"],
            [*good, "--app", "echo", "--takeover-at", "-1"],
            [*good, "--app", "echo", "--decapsulate", "string"],
            [*good, "--app", "echo", "--primary-link-address", "here"],
            ["--pcap", str(whole), "--service", "nowhere", "--app", "echo"],
            ["--pcap", str(text), "--service", SERVICE, "--app", "echo"],
            ["--pcap", str(Path(folder) / "none.pcap"), "--service", SERVICE, "--app", "echo"],
        ]
        for words in refused:
            done = rehearse(*words)
            assert done.returncode == 2 and not done.stdout, f"{words}: {done}"
            assert len(done.stderr.splitlines()) == 1, f"{words}: not one line:\n{done.stderr}"
        broken = Path(folder) / "broken.pcap"
        broken.write_bytes(whole.read_bytes()[:-10])
        done = rehearse("--pcap", str(broken), "--service", SERVICE, "--app", "echo", "--json")
        report = json.loads(done.stdout)
        assert done.returncode == 0 and report["unreadable_frames"] == 1 and report["frames"] == 5, done


def captures_of_the_world() -> None:
    if not CAPTURES:
        print("skipped: UNDERSTUDY_CAPTURES names no captures")
        return
    root = Path(CAPTURES)
    rows = [json.loads(line) for line in (root / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    # One conversation a file, both directions whole: what a discarding application gets, and is behind, is known.
    wanted = [row for row in rows if row["strict"] and not row["occurs"]["ipv6"] and row["occurs"]["fin"] >= 2
              and row["client_to_server"]["complete"] and row["server_to_client"]["complete"]
              and row["server_to_client"]["bytes"] and row["occurs"]["rst"] == 0
              and sum(other["file"] == row["file"] for other in rows) == 1]
    checked = 0
    for row in wanted[:MOST_FILES]:
        file = root / row["file"]
        service = _server_of(file, row)
        if service is None:
            continue
        done = rehearse("--pcap", str(file), "--service", service, "--app", "discard", "--accept-unfilled-checksums",
                        "--cover-inferred", "--decapsulate", TUNNELS, "--json")
        assert done.returncode == 1 and done.stdout, f"{file}: {done}"
        report = json.loads(done.stdout)
        if report["refused_checksums"]["wrong"]:
            continue
        connection, = (c for c in report["connections"] if c["client"] == row["client"])
        # It closes without a word where the primary answered.
        assert connection["coverage"] == "diverged" and connection["row"]["detail"] == "0", f"{file}: {connection}"
        assert int(connection["row"]["bytes_received"]) == row["client_to_server"]["bytes"], f"{file}: {connection}"
        assert connection["largest_lag_bytes"] == row["server_to_client"]["bytes"], f"{file}: {connection}"
        checked += 1
    assert checked > MOST_FILES // 2, f"only {checked} conversations could be held against the manifest"


def _server_of(file: Path, row: dict[str, Any]) -> str | None:
    """Who the client speaks to: the manifest names the port alone."""
    host, _, port = row["client"].rpartition(":")
    wanted = bytes(int(part) for part in host.split("."))
    ports = struct.pack("!HH", int(port), row["server_port"])
    data = file.read_bytes()
    at = data.find(ports)
    while at >= 8 and data[at - 8:at - 4] != wanted:
        at = data.find(ports, at + 1)
    if at < 8:
        return None
    return ".".join(map(str, data[at - 4:at])) + f":{row['server_port']}"


CASES: list[Callable[[], None]] = [
    equal_answers_are_fit,
    a_difference_is_shown,
    a_takeover_answers_what_the_primary_left,
    a_hole_is_no_fault_of_the_server_but_none_the_less_uncovered,
    an_application_that_does_not_answer_is_behind,
    what_began_earlier_is_not_judged,
    datagrams,
    wrong_checksums_are_losses,
    recorded_time_says_the_same,
    what_cannot_be_used_is_told_in_one_line,
    captures_of_the_world,
]


def main() -> int:
    for case in CASES:
        case()
        print(f"ok: {case.__name__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
