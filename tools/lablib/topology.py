"""The network of one run: client, primary, replica, and a switch with a port mirror.

            P (primary)     heartbeat 0, heartbeat 1      R (replica)
            lan0 ................................ lan0    tap0
              |                                    |        |
              p0                                   r0       m0   <- copies of p0 or c0
              +---------------- br0 ---------------+
                                 c0
                                 |
                                lan0
                              C (client)

Names carry a run id with this process' id, so runs stand side by side, and what a dead process left behind is
known as such.
"""

import enum
import os
import re
import signal
import time
from dataclasses import dataclass, field

from .command import ip_batch, run
from .errors import EnvironmentProblem

PREFIX = "us"
_RUN_ID = re.compile(rf"{PREFIX}(\d+)x(\d+)$")
_NAMESPACE = re.compile(rf"({PREFIX}\d+x\d+)-[A-Z]$")
_KILL_TIMEOUT_S = 5.0

# By IP version.
SERVICE_ADDRESSES = {"4": "10.77.0.1", "6": "fd77::1"}
CLIENT_ADDRESSES = {"4": "10.77.0.100", "6": "fd77::100"}
HEARTBEAT_PORT = 7800
CLIENT_MAC = "02:75:73:00:00:64"
PRIMARY_MAC = "02:75:73:00:00:01"
REPLICA_MAC = "02:75:73:00:00:02"
TAP_MACS = ("02:75:73:00:00:03", "02:75:73:00:00:04")

_CONGESTION_CONTROL = "cubic"
_ALLOWED = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"

# Both kernels behave the same from run to run: what they would otherwise learn or choose is fixed.
_TCP_SETTINGS = (
    f"net.ipv4.tcp_congestion_control={_CONGESTION_CONTROL}",
    "net.ipv4.tcp_no_metrics_save=1",
    "net.ipv4.tcp_timestamps=1",
    "net.ipv4.tcp_sack=1",
    "net.ipv4.tcp_window_scaling=1",
    "net.ipv4.tcp_ecn=0",
    "net.ipv4.tcp_max_syn_backlog=16384",
    "net.core.somaxconn=16384",
    "net.ipv4.ip_local_port_range=10000 65000",
)


class Mirror(enum.Enum):
    """Which switch port the mirror copies."""

    UPLINK = "uplink"
    PRIMARY_PORT = "primary-port"
    BOTH = "both"

    @property
    def ports(self) -> tuple[str, ...]:
        """Each is copied to a tap port of its own: m0 and tap0, m1 and tap1."""
        return {Mirror.UPLINK: ("c0",), Mirror.PRIMARY_PORT: ("p0",), Mirror.BOTH: ("c0", "p0")}[self]


@dataclass(frozen=True)
class HeartbeatLink:
    interface: str
    primary: str
    replica: str


HEARTBEAT_LINKS = (
    HeartbeatLink("hb0", "10.78.0.1", "10.78.0.2"),
    HeartbeatLink("hb1", "10.79.0.1", "10.79.0.2"),
)


def _start_time(pid: int) -> int | None:
    # Field 22 of /proc/PID/stat: a process id alone may have been given to somebody else since.
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return int(stat.read().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
        return None


def is_alive(run_id: str) -> bool:
    """Whether the process that this run id names still runs. What is no run id is nobody's: alive."""
    match = _RUN_ID.match(run_id)
    return match is None or _start_time(int(match.group(1))) == int(match.group(2))


def _namespaces() -> list[str]:
    try:
        return sorted(os.listdir("/run/netns"))
    except FileNotFoundError:
        return []


def kill_everything_in(namespace: str) -> int:
    """SIGKILLs every process in the namespace and waits until it is empty. Returns how many there were."""
    killed: set[int] = set()
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    while time.monotonic() < deadline:
        pids = [int(word) for word in run("ip", "netns", "pids", namespace, check=False).stdout.split()]
        pids = [pid for pid in pids if not _is_zombie(pid)]
        if not pids:
            return len(killed)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            except ProcessLookupError:
                pass
        time.sleep(0.005)
    raise EnvironmentProblem(f"processes in namespace {namespace} survive SIGKILL")


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return True


def remove_namespace(namespace: str) -> None:
    if namespace not in _namespaces():
        return
    kill_everything_in(namespace)
    run("ip", "netns", "del", namespace, check=False)


def remove_leftovers() -> list[str]:
    """Removes the namespaces of runs whose process is gone. Returns their names."""
    removed = []
    for name in _namespaces():
        match = _NAMESPACE.match(name)
        if match and not is_alive(match.group(1)):
            remove_namespace(name)
            removed.append(name)
    return removed


def make_run_id() -> str:
    """Names this process, in names of namespaces."""
    return f"{PREFIX}{os.getpid()}x{_start_time(os.getpid())}"


def allow_congestion_control(name: str) -> None:
    """Lets namespaces choose it: they may choose among the host's allowed algorithms only."""
    # The list is the host's alone to widen. It only grows, and stays: another run may be using it.
    with open(_ALLOWED, encoding="ascii") as file:
        allowed = file.read().split()
    if name in allowed:
        return
    try:
        with open(_ALLOWED, "w", encoding="ascii") as file:
            file.write(" ".join([*allowed, name]))
    except OSError as error:
        raise EnvironmentProblem(f"cannot allow {name} in {_ALLOWED}: {error.strerror}") from error


@dataclass
class Topology:
    """The namespaces of one run. `build()` makes them, `remove()` takes away whatever is there."""

    mirror: Mirror
    ip: str = "4"
    # The copies of a port go by xN and yN, where a program may do harm to them before they reach mN.
    detour: bool = False
    run_id: str = field(default_factory=make_run_id)

    def __post_init__(self) -> None:
        self.client = f"{self.run_id}-C"
        self.primary = f"{self.run_id}-P"
        self.replica = f"{self.run_id}-R"
        self.switch = f"{self.run_id}-S"

    @property
    def namespaces(self) -> tuple[str, ...]:
        return self.client, self.primary, self.replica, self.switch

    def build(self) -> None:
        allow_congestion_control(_CONGESTION_CONTROL)
        for namespace in self.namespaces:
            run("ip", "netns", "add", namespace)
            ip_batch(namespace, ["link set lo up"])
        for namespace in (self.client, self.primary):
            self._sysctl(namespace, *_TCP_SETTINGS)
        for namespace in self.namespaces:
            # No kernel says a word of IPv6 unasked: the wire of the service LAN shows the run and nothing else.
            self._sysctl(namespace, "net.ipv6.conf.default.disable_ipv6=1", "net.ipv6.conf.all.disable_ipv6=1")
        self._plug_in_switch()
        for namespace in (self.client, self.primary):
            self._allow_ipv6(namespace)
        self._address_hosts()
        self._mirror_port()

    def rebuild_primary(self) -> None:
        """A primary's host that was removed is there again, its service link still down."""
        # The kernel takes a removed namespace apart in its own time.
        leftovers = [(self.switch, "p0"), *((self.replica, link.interface) for link in HEARTBEAT_LINKS)]
        for namespace, interface in leftovers:
            run("ip", "-n", namespace, "link", "del", interface, check=False)
        run("ip", "netns", "add", self.primary)
        ip_batch(self.primary, ["link set lo up"])
        self._sysctl(self.primary, *_TCP_SETTINGS, "net.ipv6.conf.default.disable_ipv6=1",
                     "net.ipv6.conf.all.disable_ipv6=1")
        ip_batch(self.switch, [f"link add p0 type veth peer name lan0 address {PRIMARY_MAC} netns {self.primary}",
                               "link set p0 master br0", "link set p0 up"])
        self._allow_ipv6(self.primary)
        ip_batch(self.primary, self._heartbeat_links() + self._lan_address(SERVICE_ADDRESSES)[:1])
        ip_batch(self.replica, self._replica_heartbeat_addresses())
        for port, monitor in zip(self.mirror.ports, self._copies(), strict=True):
            if port == "p0":
                self._copy(port, monitor)

    def plug_in_primary(self) -> None:
        ip_batch(self.primary, ["link set lan0 up"])

    @property
    def fence_command(self) -> str:
        """Cuts the primary's switch port."""
        return f"ip -n {self.switch} link set p0 down"

    def remove(self) -> None:
        for namespace in self.namespaces:
            remove_namespace(namespace)

    @staticmethod
    def _sysctl(namespace: str, *settings: str) -> None:
        run("ip", "netns", "exec", namespace, "sysctl", "-q", "-w", *settings)

    def _plug_in_switch(self) -> None:
        lines = ["link add br0 type bridge stp_state 0 mcast_snooping 0"]
        for port, host, interface, mac in (
            ("c0", self.client, "lan0", CLIENT_MAC),
            ("p0", self.primary, "lan0", PRIMARY_MAC),
            ("r0", self.replica, "lan0", REPLICA_MAC),
            *((f"m{i}", self.replica, f"tap{i}", TAP_MACS[i]) for i in self._taps()),
        ):
            lines.append(f"link add {port} type veth peer name {interface} address {mac} netns {host}")
        if self.detour:
            for i in self._taps():
                lines += [f"link add x{i} type veth peer name y{i}", f"link set x{i} up", f"link set y{i} up"]
        lines += [f"link set {port} master br0" for port in ("c0", "p0", "r0")]
        lines += [f"link set {port} up" for port in ("br0", "c0", "p0", "r0", *self._monitors())]
        ip_batch(self.switch, lines)

    def _allow_ipv6(self, namespace: str) -> None:
        if self.ip != "6":
            return
        lan = "net.ipv6.conf.lan0"
        self._sysctl(namespace, f"{lan}.disable_ipv6=0", f"{lan}.accept_ra=0", f"{lan}.accept_dad=0",
                     f"{lan}.router_solicitations=0")

    def _heartbeat_links(self) -> list[str]:
        heartbeats = [f"link add {link.interface} type veth peer name {link.interface} netns {self.replica}"
                      for link in HEARTBEAT_LINKS]
        heartbeats += [f"addr add {link.primary}/24 dev {link.interface}" for link in HEARTBEAT_LINKS]
        return heartbeats + [f"link set {link.interface} up" for link in HEARTBEAT_LINKS]

    @staticmethod
    def _replica_heartbeat_addresses() -> list[str]:
        lines = []
        for link in HEARTBEAT_LINKS:
            lines += [f"addr add {link.replica}/24 dev {link.interface}", f"link set {link.interface} up"]
        return lines

    def _address_hosts(self) -> None:
        ip_batch(self.primary, self._heartbeat_links() + self._lan_address(SERVICE_ADDRESSES))
        ip_batch(self.client, self._lan_address(CLIENT_ADDRESSES))
        # The replica's kernel owns no service address and stays silent: the stack is the only one to speak there.
        replica = ["link set lan0 arp off", "link set lan0 up"]
        for i in self._taps():
            replica += [f"link set tap{i} arp off", f"link set tap{i} promisc on", f"link set tap{i} up"]
        ip_batch(self.replica, replica + self._replica_heartbeat_addresses())

    def _lan_address(self, addresses: dict[str, str]) -> list[str]:
        length, flags = (24, "") if self.ip == "4" else (64, " nodad")
        return [f"addr add {addresses[self.ip]}/{length} dev lan0{flags}", "link set lan0 up"]

    def _mirror_port(self) -> None:
        # Neither super-frames nor unfilled checksums leave the switch towards the replica, as on a real wire: its
        # ports see what the kernel's own receive path would have put right.
        for port in {*self._monitors(), *self._copies(), "r0"}:
            self.exec_in_switch("ethtool", "-K", port, "tso", "off", "gso", "off", "tx", "off")
        for port, monitor in zip(self.mirror.ports, self._copies(), strict=True):
            self._copy(port, monitor)

    def _copy(self, port: str, monitor: str) -> None:
        self.exec_in_switch("tc", "qdisc", "add", "dev", port, "clsact")
        for direction in ("ingress", "egress"):
            self.exec_in_switch(
                "tc", "filter", "add", "dev", port, direction, "protocol", "all", "u32", "match", "u32", "0", "0",
                "action", "mirred", "egress", "mirror", "dev", monitor)

    def _copies(self) -> list[str]:
        return [f"x{i}" for i in self._taps()] if self.detour else self._monitors()

    def _taps(self) -> range:
        return range(len(self.mirror.ports))

    def _monitors(self) -> list[str]:
        return [f"m{i}" for i in self._taps()]

    def exec_in_switch(self, *words: str) -> None:
        run("ip", "netns", "exec", self.switch, *words)
