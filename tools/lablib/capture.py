"""Captures on the switch's ports, and a reader for them."""

import ipaddress
import re
import signal
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import RunFailed
from .process import Program

_START_TIMEOUT_S = 10.0
_FILE_HEADER_BYTES = 24
_MAGIC_NANOSECONDS = 0xA1B23C4D
_RECORD = struct.Struct("<IIII")
_ETHERTYPE_IPV4 = 0x0800
_ETHERTYPE_ARP = 0x0806
_ETHERTYPE_IPV6 = 0x86DD
_IPV6_HEADER_BYTES = 40
_ARP_REPLY = 2
_PROTOCOL_ICMP6 = 58
_NEIGHBOUR_SOLICITATION = 135
_PROTOCOL_TCP = 6
_NS_PER_S = 1_000_000_000

# Link, network and transport header with options: enough to judge, and cheap at high rates.
HEADERS_ONLY = 128
# An Ethernet frame. More would cost: each slot of the kernel's ring is as long as the longest frame that may be kept.
WHOLE_FRAMES = 1600


class Capture:
    """tcpdump on one switch port, writing each frame at once."""

    def __init__(self, name: str, switch: str, port: str, folder: Path, file: Path, *, direction: str = "inout",
                 snap_bytes: int = HEADERS_ONLY, expression: str = "") -> None:
        self.name = name
        self.file = file
        # -Z root: otherwise it gives up root and may not write where we keep the file.
        words = ["tcpdump", "-i", port, "-Q", direction, "-s", str(snap_bytes), "-B", "16384", "-U",
                 "--immediate-mode", "-n", "-Z", "root", "--time-stamp-precision=nano", "-w", str(file)]
        self._program = Program(f"tcpdump-{name}", switch, words + ([expression] if expression else []), folder)

    def wait_until_listening(self) -> None:
        self._program.wait_for_line("listening on", _START_TIMEOUT_S)

    def stop(self) -> None:
        self._program.stop(signal.SIGINT)

    def kill(self) -> None:
        self._program.kill()

    def dropped(self) -> int:
        """Frames the kernel had to leave out, known after stop()."""
        found = re.search(r"(\d+) packets? dropped by kernel", self._program.output())
        return int(found.group(1)) if found else 0


@dataclass(frozen=True)
class Frame:
    wall_ns: int
    data: bytes
    length: int

    @property
    def source_mac(self) -> str:
        return self.data[6:12].hex(":")

    @property
    def is_arp(self) -> bool:
        return self.data[12:14] == _ETHERTYPE_ARP.to_bytes(2, "big")

    @property
    def is_arp_reply(self) -> bool:
        return self.is_arp and self.data[20:22] == _ARP_REPLY.to_bytes(2, "big")

    def is_address_probe_of(self, mac: str) -> bool:
        """Whether it asks this host alone for its address, and teaches nobody anything (rules.md 15)."""
        if self.data[0:6].hex(":") != mac:
            return False
        if self.is_arp:
            return self.data[20:22] == b"\x00\x01" and self.data[28:32] == bytes(4)
        is_icmp6 = self.data[12:14] == _ETHERTYPE_IPV6.to_bytes(2, "big") and self.data[20] == _PROTOCOL_ICMP6
        return is_icmp6 and self.data[54] == _NEIGHBOUR_SOLICITATION and self.data[22:24] == b"\xfe\x80"

    def tcp(self) -> "TcpSegment | None":
        """The TCP segment in it, or None. Behind IPv6 extension headers nothing is looked for."""
        ether_type = int.from_bytes(self.data[12:14], "big")
        if ether_type == _ETHERTYPE_IPV4 and len(self.data) >= 34:
            ip_header = (self.data[14] & 0x0F) * 4
            protocol, source, (total_length,) = self.data[23], self.data[26:30], struct.unpack_from("!H", self.data, 16)
        elif ether_type == _ETHERTYPE_IPV6 and len(self.data) >= 54:
            ip_header = _IPV6_HEADER_BYTES
            protocol, source = self.data[20], self.data[22:38]
            total_length = ip_header + struct.unpack_from("!H", self.data, 18)[0]
        else:
            return None
        at = 14 + ip_header
        if protocol != _PROTOCOL_TCP or len(self.data) < at + 20:
            return None
        source_port, target_port, sequence = struct.unpack_from("!HHI", self.data, at)
        offset_and_flags = self.data[at + 12], self.data[at + 13]
        return TcpSegment(
            source=str(ipaddress.ip_address(source)),
            source_port=source_port,
            target_port=target_port,
            sequence=sequence,
            syn=bool(offset_and_flags[1] & 0x02),
            payload_bytes=max(0, total_length - ip_header - (offset_and_flags[0] >> 4) * 4))


@dataclass(frozen=True)
class TcpSegment:
    source: str
    source_port: int
    target_port: int
    sequence: int
    syn: bool
    payload_bytes: int


def read_capture(path: Path) -> Iterator[Frame]:
    """The frames of a nanosecond capture file. A frame cut short at the end of the file ends the reading."""
    with open(path, "rb") as file:
        header = file.read(_FILE_HEADER_BYTES)
        if len(header) < _FILE_HEADER_BYTES or struct.unpack_from("<I", header)[0] != _MAGIC_NANOSECONDS:
            raise RunFailed(f"{path} is not a capture with nanoseconds")
        while len(record := file.read(_RECORD.size)) == _RECORD.size:
            seconds, nanoseconds, captured, length = _RECORD.unpack(record)
            data = file.read(captured)
            if len(data) < captured:
                return
            yield Frame(seconds * _NS_PER_S + nanoseconds, data, length)
