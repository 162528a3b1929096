"""The command line of `tools/lab`, and what it means."""

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError
from .fault import FaultKind
from .topology import SERVICE_ADDRESSES, Mirror

ROOT = Path(__file__).resolve().parents[2]
APPLICATIONS = ("echo", "discard", "ticker", "udp-echo")
_DATAGRAM_APPLICATIONS = ("udp-echo",)
SERVICE_PORT = 7000
_MAX_CLIENTS = 10_000
_MAX_CORES = 64
_MAX_MESSAGE_BYTES = 1 << 20
# A request number, and what an IPv6 packet of the service LAN has room for.
_DATAGRAM_BYTES = (8, 1452)
_SHORTEST_RUN_S = 10.0
_AFTER_TAKEOVER_S = 5.0


@dataclass(frozen=True)
class MirrorFaults:
    """What the mirror does to the copies, each in parts of a million."""

    loss: int = 0
    reorder: int = 0
    duplicate: int = 0
    truncate: int = 0

    @property
    def any(self) -> bool:
        return bool(self.loss or self.reorder or self.duplicate or self.truncate)


@dataclass(frozen=True)
class FailoverOptions:
    """One run, checked."""

    app: str = "echo"
    client: str | None = None
    port: int = SERVICE_PORT
    clients: int = 20
    duration_s: float = _SHORTEST_RUN_S
    message_bytes: int = 75
    rate: float = 50.0
    kill_after_s: float = 3.0
    fault: FaultKind = FaultKind.POWER
    mirror: Mirror = Mirror.UPLINK
    mirror_faults: MirrorFaults = MirrorFaults()
    heartbeat_interval_ms: int = 100
    heartbeat_misses: int = 3
    cores: int = 1
    repair: bool = False
    ip: str = "4"
    json_file: Path | None = None
    pcap_dir: Path | None = None
    build_dir: Path = ROOT / "build"

    @property
    def service_address(self) -> str:
        return SERVICE_ADDRESSES[self.ip]

    @property
    def service_endpoint(self) -> str:
        host = self.service_address if self.ip == "4" else f"[{self.service_address}]"
        return f"{host}:{self.port}"

    @property
    def over_datagrams(self) -> bool:
        return self.app in _DATAGRAM_APPLICATIONS

    @property
    def replicated_service(self) -> str:
        """The service in the words of understudyd."""
        return f"{self.service_endpoint}{'/udp' if self.over_datagrams else ''}={self.app}"


def version() -> str:
    text = (ROOT / "meson.build").read_text(encoding="utf-8")
    found = re.search(r"^  version: '([^']+)'", text, re.MULTILINE)
    return found.group(1) if found else "unknown"


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and leaves the exit to the caller."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{message}; see {self.prog} --help")


def default_build_dir() -> Path:
    return Path(os.environ.get("UNDERSTUDY_BUILD") or ROOT / "build").absolute()


def make_parser() -> Parser:
    parser = Parser(prog="tools/lab", allow_abbrev=False,
                    description="Kills a primary in a network of namespaces, and judges how a replica takes over.",
                    epilog="Exit status: 0 survived, 1 failed, 2 wrong usage or environment. Needs root.")
    parser.add_argument("--version", action="version", version=f"tools/lab {version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    failover = commands.add_parser("failover", allow_abbrev=False, help="one run: a client, a fault, a verdict",
                                   description="One run: a client talks to the primary, the primary fails, "
                                               "and the client's bytes and the wire give the verdict.")
    _add_failover_options(failover)
    commands.add_parser("clean", allow_abbrev=False, help="remove what crashed runs left behind")
    return parser


def _add_failover_options(parser: argparse.ArgumentParser) -> None:
    defaults = FailoverOptions()
    parser.add_argument("--version", action="version", version=f"tools/lab {version()}")
    server = parser.add_argument_group("server")
    server.add_argument("--app", choices=APPLICATIONS,
                        help="native application on the replica, its kernel-socket twin on the primary "
                             "(default: echo)")
    server.add_argument("--server", metavar="CMD", help="any server program (needs the socket shim)")
    server.add_argument("--port", type=int, metavar="N", help=f"service port (default: {SERVICE_PORT})")
    client = parser.add_argument_group("client")
    client.add_argument("--client", metavar="CMD",
                        help="any client program, run by the shell; {host} and {port} are filled in "
                             "(default: understudy-load)")
    client.add_argument("--clients", type=int, default=defaults.clients, metavar="N",
                        help="connections (default: %(default)s)")
    client.add_argument("--duration", type=float, metavar="S",
                        help="of the client (default: 10, or what the fault and the heartbeats need)")
    client.add_argument("--message-bytes", type=int, default=defaults.message_bytes, metavar="N",
                        help="IP version of the service (default: %(default)s)")
    client.add_argument("--rate", type=float, default=defaults.rate, metavar="N",
                        help="messages/s per client, one outstanding; 0: open and idle (default: %(default)g)")
    fault = parser.add_argument_group("fault")
    fault.add_argument("--kill-after", type=float, default=defaults.kill_after_s, metavar="S",
                       help="the fault strikes this long after the client's start (default: %(default)g)")
    fault.add_argument("--fault", choices=[kind.value for kind in FaultKind], default=defaults.fault.value,
                       help="power: links down, everything killed, namespace deleted; link: service port only; "
                            "heartbeat-cut, one-link-cut, mirror-cut: only what the replica hears by; "
                            "none: control run (default: %(default)s)")
    network = parser.add_argument_group("network")
    network.add_argument("--mirror", choices=[mirror.value for mirror in Mirror], default=defaults.mirror.value,
                         help="the switch port that is copied to the tap; both: each to a tap of its own "
                              "(default: %(default)s)")
    for fault_name, what in (("loss", "lost"), ("reorder", "overtaken by later ones"), ("duplicate", "doubled"),
                             ("truncate", "cut short")):
        network.add_argument(f"--mirror-{fault_name}", default="0", metavar="P%",
                             help=f"frames of the mirror that are {what} on the way to the tap (default: 0)")
    network.add_argument("--heartbeat-interval-ms", type=int, default=defaults.heartbeat_interval_ms, metavar="N",
                         help="(default: %(default)s)")
    network.add_argument("--heartbeat-misses", type=int, default=defaults.heartbeat_misses, metavar="N",
                         help="(default: %(default)s)")
    network.add_argument("--ip", choices=["4", "6"], default="4", help="(default: %(default)s)")
    replica = parser.add_argument_group("replica")
    replica.add_argument("--cores", type=int, default=defaults.cores, metavar="N",
                         help="data-plane cores of the replica (default: %(default)s)")
    replica.add_argument("--repair", action="store_true",
                         help="the agent gives the replica what its mirror missed")
    output = parser.add_argument_group("output")
    output.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file")
    output.add_argument("--pcap", type=Path, metavar="DIR",
                        help="keep captures of the client's port, the tap and the service port here")
    output.add_argument("--build-dir", type=Path, metavar="DIR",
                        help="where the programs are (default: $UNDERSTUDY_BUILD, or build/)")


def _default_duration_s(kill_after_s: float, interval_ms: int, misses: int) -> float:
    """Long enough for the fault, a detection by heartbeats alone, and a while of service by the replica."""
    return max(_SHORTEST_RUN_S, kill_after_s + 2 * interval_ms / 1000 * misses + _AFTER_TAKEOVER_S)


def check_failover(arguments: argparse.Namespace) -> FailoverOptions:
    """Turns parsed words into options, or says in one line what is wrong with them."""
    if arguments.server is not None:
        if arguments.app is not None:
            raise UsageError("--app and --server exclude each other")
        raise UsageError("--server needs the socket shim, which is not there yet; use --app")
    _check_range("--port", arguments.port or SERVICE_PORT, 1, 65535)
    if arguments.port == 0:
        raise UsageError("--port must be 1 to 65535")
    _check_range("--clients", arguments.clients, 1, _MAX_CLIENTS)
    _check_range("--message-bytes", arguments.message_bytes, 1, _MAX_MESSAGE_BYTES)
    if arguments.app in _DATAGRAM_APPLICATIONS:
        _check_range(f"--message-bytes of {arguments.app}", arguments.message_bytes, *_DATAGRAM_BYTES)
    _check_range("--rate", arguments.rate, 0, 1_000_000)
    _check_range("--kill-after", arguments.kill_after, 0, 86_400)
    _check_range("--cores", arguments.cores, 1, _MAX_CORES)
    _check_range("--heartbeat-interval-ms", arguments.heartbeat_interval_ms, 1, 3_600_000)
    _check_range("--heartbeat-misses", arguments.heartbeat_misses, 1, 1000)
    fault = FaultKind(arguments.fault)
    duration = arguments.duration
    if duration is None:
        duration = _default_duration_s(arguments.kill_after, arguments.heartbeat_interval_ms,
                                       arguments.heartbeat_misses)
    _check_range("--duration", duration, 0.1, 86_400)
    if fault is not FaultKind.NONE and duration <= arguments.kill_after:
        raise UsageError("--duration must be longer than --kill-after, or the client is gone before the fault")
    if arguments.json is not None:
        if arguments.json.is_dir() or not arguments.json.absolute().parent.is_dir():
            raise UsageError(f"--json {arguments.json}: not a file in a folder that exists")
    if arguments.pcap is not None and arguments.pcap.exists() and not arguments.pcap.is_dir():
        raise UsageError(f"--pcap {arguments.pcap} is not a folder")
    return FailoverOptions(
        app=arguments.app or "echo",
        client=arguments.client,
        port=arguments.port or SERVICE_PORT,
        clients=arguments.clients,
        duration_s=duration,
        message_bytes=arguments.message_bytes,
        rate=arguments.rate,
        kill_after_s=arguments.kill_after,
        fault=fault,
        mirror=Mirror(arguments.mirror),
        mirror_faults=MirrorFaults(_per_million("--mirror-loss", arguments.mirror_loss),
                                   _per_million("--mirror-reorder", arguments.mirror_reorder),
                                   _per_million("--mirror-duplicate", arguments.mirror_duplicate),
                                   _per_million("--mirror-truncate", arguments.mirror_truncate)),
        heartbeat_interval_ms=arguments.heartbeat_interval_ms,
        heartbeat_misses=arguments.heartbeat_misses,
        cores=arguments.cores,
        repair=arguments.repair,
        ip=arguments.ip,
        json_file=arguments.json,
        pcap_dir=arguments.pcap,
        build_dir=(arguments.build_dir or default_build_dir()).absolute(),
    )


def _per_million(name: str, text: str) -> int:
    try:
        per_cent = float(text.removesuffix("%"))
    except ValueError:
        raise UsageError(f"{name} {text}: not a percentage, such as 1% or 0.5%") from None
    _check_range(name, per_cent, 0, 100)
    return round(per_cent * 10_000)


def _check_range(name: str, value: float, low: float, high: float) -> None:
    # Written so that "not a number" is refused too.
    if not low <= value <= high:
        raise UsageError(f"{name} must be {low:g} to {high:g}")
