"""The command line of `tools/lab`, and what it means."""

import argparse
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError
from .fault_kind import FaultKind
from .topology import SERVICE_ADDRESSES, Mirror

ROOT = Path(__file__).resolve().parents[2]
APPLICATIONS = ("echo", "discard", "source", "ticker", "udp-echo")
_DATAGRAM_APPLICATIONS = ("udp-echo",)
SERVICE_PORT = 7000
_MAX_CLIENTS = 10_000
_MAX_CORES = 64
_MAX_MESSAGE_BYTES = 1 << 20
# A request number, and what an IPv6 packet of the service LAN has room for.
_DATAGRAM_BYTES = (8, 1452)
_MESSAGE_BYTES = 75
# A source is asked for blocks, as many ahead as keep it busy.
_SOURCE_BLOCK_BYTES = 64 * 1024
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
class ClientPath:
    """The way between the clients and the service LAN, where it is not just a wire."""

    bits_per_s: int
    # There and back, without waiting.
    round_trip_ms: float

    @property
    def buffer_bytes(self) -> int:
        """One bandwidth-delay product."""
        return round(self.bits_per_s / 8 * self.round_trip_ms / 1000)

    @property
    def drain_ms(self) -> float:
        """How long after the last frame went in the last one comes out, at most."""
        return self.round_trip_ms / 2 + self.buffer_bytes * 8 / self.bits_per_s * 1000


@dataclass(frozen=True)
class FailoverOptions:
    """One run, checked."""

    app: str = "echo"
    server: str | None = None
    align: bool = False
    client: str | None = None
    port: int = SERVICE_PORT
    clients: int = 20
    duration_s: float = _SHORTEST_RUN_S
    message_bytes: int = _MESSAGE_BYTES
    rate: float = 50.0
    kill_after_s: float = 3.0
    fault: FaultKind = FaultKind.POWER
    mirror: Mirror = Mirror.UPLINK
    mirror_faults: MirrorFaults = MirrorFaults()
    path: ClientPath | None = None
    heartbeat_interval_ms: int = 100
    heartbeat_misses: int = 3
    cores: int = 1
    repair: bool = False
    guard: bool = False
    fence: bool = False
    churn: float = 0.0
    cold_start: bool = False
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
    def hands_over(self) -> bool:
        return self.fault is FaultKind.SHUTDOWN

    @property
    def over_datagrams(self) -> bool:
        return self.server is None and self.app in _DATAGRAM_APPLICATIONS

    @property
    def server_words(self) -> list[str]:
        """The program under test; {host} and {port} are filled in as they are for the client."""
        return [word.replace("{host}", self.service_address).replace("{port}", str(self.port))
                for word in shlex.split(self.server or "")]

    @property
    def replicated_service(self) -> str:
        """The service in the words of understudyd."""
        if self.server is not None:
            return f"{self.service_endpoint}=shim{',align=request' if self.align else ''}"
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
    server.add_argument("--server", metavar="CMD", help="any server program, started in an empty folder of its own: on the primary as it is, on "
                             "the replica by `understudy run`; {host} and {port} are filled in. With --client")
    server.add_argument("--align", action="store_true",
                        help="the answers of --server may differ, as by their date: aligned request by request")
    server.add_argument("--port", type=int, metavar="N", help=f"service port (default: {SERVICE_PORT})")
    client = parser.add_argument_group("client")
    client.add_argument("--client", metavar="CMD",
                        help="any client program, run by the shell; {host} and {port} are filled in "
                             "(default: understudy-load)")
    client.add_argument("--clients", type=int, default=defaults.clients, metavar="N",
                        help="connections (default: %(default)s)")
    client.add_argument("--duration", type=float, metavar="S",
                        help="of the client (default: 10, or what the fault and the heartbeats need)")
    client.add_argument("--message-bytes", type=int, metavar="N",
                        help=f"of a message (default: {_MESSAGE_BYTES}), or of a block that is asked of the source "
                             f"(default: {_SOURCE_BLOCK_BYTES})")
    client.add_argument("--rate", type=float, default=defaults.rate, metavar="N",
                        help="messages/s per client, one outstanding; 0: open and idle (default: %(default)g)")
    client.add_argument("--churn", type=float, default=0.0, metavar="N",
                        help="connections/s that are opened, used once and closed meanwhile (default: %(default)g)")
    fault = parser.add_argument_group("fault")
    fault.add_argument("--kill-after", type=float, default=defaults.kill_after_s, metavar="S",
                       help="the fault strikes this long after the client's start (default: %(default)g)")
    fault.add_argument("--fault", choices=[kind.value for kind in FaultKind], default=defaults.fault.value,
                       help="power: links down, everything killed, namespace deleted; link: service port only; "
                            "freeze: server and agent stopped, with a fence; process: the server is killed, with the "
                            "guard; return: power, and a fresh primary comes back; return-link: link, and the port is "
                            "back; switchover, shutdown: planned; heartbeat-cut, one-link-cut, mirror-cut: only "
                            "what the replica hears by; stall: the replica does not run for a while; none: control run "
                            "(default: %(default)s)")
    fault.add_argument("--guard", action=argparse.BooleanOptionalAction,
                       help="the agent guards the server's process (default: for the fault process)")
    fault.add_argument("--fence", action=argparse.BooleanOptionalAction,
                       help="the replica can cut the primary's switch port (default: for the fault freeze)")
    network = parser.add_argument_group("network")
    network.add_argument("--mirror", choices=[mirror.value for mirror in Mirror], default=defaults.mirror.value,
                         help="the switch port that is copied to the tap; both: each to a tap of its own "
                              "(default: %(default)s)")
    for fault_name, what in (("loss", "lost"), ("reorder", "overtaken by later ones"), ("duplicate", "doubled"),
                             ("truncate", "cut short")):
        network.add_argument(f"--mirror-{fault_name}", default="0", metavar="P%",
                             help=f"frames of the mirror that are {what} on the way to the tap (default: 0)")
    network.add_argument("--path-rate", metavar="RATE",
                         help="of the way between clients and switch, such as 100mbit; with --path-delay, and a buffer "
                              "of one bandwidth-delay product (default: a wire)")
    network.add_argument("--path-delay", metavar="TIME", help="its round trip, such as 40ms")
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
    replica.add_argument("--cold-start", action="store_true",
                         help="control run: connections go on with a new connection's window of ten segments")
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
        _check_server(arguments)
    elif arguments.align:
        raise UsageError("--align is a setting of --server: the native applications answer alike")
    _check_range("--port", arguments.port or SERVICE_PORT, 1, 65535)
    if arguments.port == 0:
        raise UsageError("--port must be 1 to 65535")
    _check_range("--clients", arguments.clients, 1, _MAX_CLIENTS)
    is_source = arguments.app == "source"
    message_bytes = arguments.message_bytes
    if message_bytes is None:
        message_bytes = _SOURCE_BLOCK_BYTES if is_source else _MESSAGE_BYTES
    _check_range("--message-bytes", message_bytes, _SOURCE_BLOCK_BYTES if is_source else 1, _MAX_MESSAGE_BYTES)
    if arguments.app in _DATAGRAM_APPLICATIONS:
        _check_range(f"--message-bytes of {arguments.app}", message_bytes, *_DATAGRAM_BYTES)
    _check_range("--rate", arguments.rate, 0, 1_000_000)
    _check_range("--churn", arguments.churn, 0, 10_000)
    if arguments.churn and arguments.app not in (None, "echo"):
        raise UsageError("--churn needs --app echo")
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
        server=arguments.server,
        align=arguments.align,
        client=arguments.client,
        port=arguments.port or SERVICE_PORT,
        clients=arguments.clients,
        duration_s=duration,
        message_bytes=message_bytes,
        rate=arguments.rate,
        kill_after_s=arguments.kill_after,
        fault=fault,
        mirror=Mirror(arguments.mirror),
        mirror_faults=MirrorFaults(_per_million("--mirror-loss", arguments.mirror_loss),
                                   _per_million("--mirror-reorder", arguments.mirror_reorder),
                                   _per_million("--mirror-duplicate", arguments.mirror_duplicate),
                                   _per_million("--mirror-truncate", arguments.mirror_truncate)),
        path=_path(arguments.path_rate, arguments.path_delay),
        heartbeat_interval_ms=arguments.heartbeat_interval_ms,
        heartbeat_misses=arguments.heartbeat_misses,
        cores=arguments.cores,
        repair=arguments.repair,
        guard=fault is FaultKind.PROCESS if arguments.guard is None else arguments.guard,
        fence=fault is FaultKind.FREEZE if arguments.fence is None else arguments.fence,
        churn=arguments.churn,
        cold_start=arguments.cold_start,
        ip=arguments.ip,
        json_file=arguments.json,
        pcap_dir=arguments.pcap,
        build_dir=(arguments.build_dir or default_build_dir()).absolute(),
    )


def _check_server(arguments: argparse.Namespace) -> None:
    try:
        words = shlex.split(arguments.server)
    except ValueError as error:
        raise UsageError(f"--server: {error}") from None
    if not words:
        raise UsageError("--server: an empty command")
    if shutil.which(words[0]) is None:
        raise UsageError(f"--server: there is no program {words[0]}")
    if arguments.client is None:
        raise UsageError("--server needs --client: only a client of that server can judge its answers")


def _per_million(name: str, text: str) -> int:
    try:
        per_cent = float(text.removesuffix("%"))
    except ValueError:
        raise UsageError(f"{name} {text}: not a percentage, such as 1% or 0.5%") from None
    _check_range(name, per_cent, 0, 100)
    return round(per_cent * 10_000)


def _path(rate: str | None, delay: str | None) -> ClientPath | None:
    if rate is None and delay is None:
        return None
    if rate is None or delay is None:
        raise UsageError("--path-rate and --path-delay belong together")
    bits_per_s = _in_units("--path-rate", rate, {"gbit": 1e9, "mbit": 1e6, "kbit": 1e3}, "100mbit")
    round_trip_ms = _in_units("--path-delay", delay, {"ms": 1.0, "s": 1000.0}, "40ms")
    _check_range("--path-rate in bit/s", bits_per_s, 1e5, 1e9)
    _check_range("--path-delay in ms", round_trip_ms, 1, 2000)
    return ClientPath(round(bits_per_s), round_trip_ms)


def _in_units(name: str, text: str, units: dict[str, float], example: str) -> float:
    for unit, factor in units.items():
        if text.endswith(unit):
            try:
                return float(text.removesuffix(unit)) * factor
            except ValueError:
                break
    raise UsageError(f"{name} {text}: not a number and one of {', '.join(units)}, such as {example}")


def _check_range(name: str, value: float, low: float, high: float) -> None:
    # Written so that "not a number" is refused too.
    if not low <= value <= high:
        raise UsageError(f"{name} must be {low:g} to {high:g}")
