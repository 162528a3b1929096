"""The network of an interoperation test.

    K (a kernel)          L (the bad link)                P (another kernel, where one is wanted)
        k0 ------------- l0 [impair] t0: our stack, on a TAP interface
                                     l1 ------------------ p0

Names carry a run id of tools/lablib, so runs stand side by side and what a dead one left is removed by the next.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from lablib.command import ip_batch, run  # noqa: E402
from lablib.topology import allow_congestion_control, make_run_id, remove_namespace  # noqa: E402

KERNEL_ADDRESS, KERNEL_LINK = "10.9.0.1", "02:75:69:00:00:01"
OTHER_ADDRESS, OTHER_LINK = "10.9.0.2", "02:75:69:00:00:02"
CONGESTION_CONTROLS = ("cubic", "reno")

# What one connection learns must not change the next.
_SETTINGS = (
    "net.ipv4.tcp_no_metrics_save=1",
    "net.ipv4.tcp_ecn=0",
    "net.ipv4.tcp_max_syn_backlog=16384",
    "net.core.somaxconn=16384",
    "net.ipv4.ip_local_port_range=10000 65000",
)
# Deep enough that only the link loses frames.
_QUEUE_FRAMES = 20_000


class Network:
    def __init__(self, with_second_kernel: bool = False) -> None:
        run_id = make_run_id()
        self.kernel, self.link, self.second = (f"{run_id}-{letter}" for letter in "KLP")
        self._namespaces = [self.kernel, self.link] + ([self.second] if with_second_kernel else [])

    def build(self) -> None:
        for name in CONGESTION_CONTROLS:
            allow_congestion_control(name)
        for namespace in self._namespaces:
            run("ip", "netns", "add", namespace)
            self._in(namespace, "sysctl", "-q", "-w", "net.ipv6.conf.default.disable_ipv6=1",
                     "net.ipv6.conf.all.disable_ipv6=1")
        ip_batch(self.link, ["tuntap add t0 mode tap", f"link set t0 txqueuelen {_QUEUE_FRAMES} arp off",
                             "link set t0 up"])
        self._plug_in(self.kernel, "k0", "l0", KERNEL_ADDRESS, KERNEL_LINK)
        if self.second in self._namespaces:
            self._plug_in(self.second, "p0", "l1", OTHER_ADDRESS, OTHER_LINK)

    def remove(self) -> None:
        for namespace in self._namespaces:
            remove_namespace(namespace)

    def _plug_in(self, namespace: str, interface: str, port: str, address: str, link_address: str) -> None:
        self._in(namespace, "sysctl", "-q", "-w", *_SETTINGS)
        ip_batch(self.link, [f"link add {port} type veth peer name {interface} address {link_address} "
                             f"netns {namespace}", f"link set {port} arp off", f"link set {port} up"])
        ip_batch(namespace, ["link set lo up", f"addr add {address}/24 dev {interface}",
                             f"link set {interface} up"])
        # Frames as on a real wire: segments of the MTU's size, checksums filled, and checked on arrival.
        self._in(namespace, "ethtool", "-K", interface, "tx", "off", "rx", "off", "tso", "off", "gso", "off",
                 "gro", "off")

    @staticmethod
    def _in(namespace: str, *words: str) -> None:
        run("ip", "netns", "exec", namespace, *words)
