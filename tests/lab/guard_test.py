#!/usr/bin/python3
"""The guard on real processes, sockets and a real link: what a service's kernel says when a process of it ends.

Run as `guard_test.py WATCHER`. Exit status 77: skipped, for want of root. It runs in network namespaces of its own.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SKIPPED = 77
BOUND_S = 20.0
SERVICE = ("10.77.9.1", 7000)
# Not guarded: what comes from it says that all that was sent before has arrived.
OTHER = "10.77.9.3"
CLIENT = "10.77.9.2"
MARKER_PORT = 9
FIN, RST = 1, 4
SERVER = Path(__file__).with_name("guard_server.py")


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


class Talker:
    """A program that is spoken to line by line."""

    def __init__(self, *words: str) -> None:
        self._program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._heard = b""
        self.pid = self._program.pid

    def say(self, line: str) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(line.encode() + b"\n")

    def hear(self) -> str:
        assert self._program.stdout is not None
        while b"\n" not in self._heard:
            assert select.select([self._program.stdout], [], [], BOUND_S)[0], "nothing is said"
            more = os.read(self._program.stdout.fileno(), 4096)
            assert more, "it ended"
            self._heard += more
        line, self._heard = self._heard.split(b"\n", 1)
        return line.decode()

    def ask(self, line: str) -> str:
        self.say(line)
        return self.hear()

    def kill(self) -> None:
        """Returns once all its files are closed."""
        self._program.kill()
        self._program.wait(BOUND_S)

    def close(self) -> None:
        self.kill()
        for stream in (self._program.stdin, self._program.stdout):
            assert stream is not None
            stream.close()


class Wire:
    """What arrives at the client's end of the link."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind(("lan0", 0))
        self._socket.settimeout(BOUND_S)

    def close(self) -> None:
        self._socket.close()

    def _mark(self) -> None:
        run("ip", "netns", "exec", self._host, sys.executable, "-c",
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
            f"s.bind(('{OTHER}', 0)); s.sendto(b'mark', ('{CLIENT}', {MARKER_PORT}))")

    def last_words(self) -> set[int]:
        """The client ports at which a FIN or RST of the service arrived since the last call."""
        self._mark()
        ports = set()
        while True:
            frame = self._socket.recv(65536)
            source, header = socket.inet_ntoa(frame[26:30]), 14 + (frame[14] & 15) * 4
            if source == OTHER and frame[23] == socket.IPPROTO_UDP:
                return ports
            if source == SERVICE[0] and frame[23] == socket.IPPROTO_TCP and frame[header + 13] & (FIN | RST):
                ports.add(int.from_bytes(frame[header + 2:header + 4], "big"))


class Host:
    """A guarded server in a namespace of its own, with clients here."""

    def __init__(self, host: str, watcher: str | None, clients: int = 5) -> None:
        self._inside = ("ip", "netns", "exec", host)
        self.server = Talker(*self._inside, sys.executable, str(SERVER), SERVICE[0], str(SERVICE[1]))
        assert self.server.hear() == "ready"
        self.guard: Talker | None = None
        if watcher is not None:
            self.guard = Talker(*self._inside, watcher, f"lan0={SERVICE[0]}:{SERVICE[1]}", str(self.server.pid))
            assert self.guard.hear() == "guarded 1"
        self.clients = [self.connect() for _ in range(clients)]
        self.wire = Wire(host)

    def connect(self) -> socket.socket:
        connection = socket.create_connection(SERVICE, BOUND_S)
        assert exchange(connection, b"hello") == b"hello"
        return connection

    def ports(self) -> set[int]:
        return {connection.getsockname()[1] for connection in self.clients}

    def start_child(self, kind: str) -> int:
        self.server.say(kind)
        said = sorted([self.server.hear(), self.server.hear()])
        assert said[1] == f"{kind} done", said
        return int(said[0].split()[1])

    def end_child(self, child: int, number: int) -> None:
        os.kill(child, number)
        wait_for_zombie(child)

    def deaths(self) -> list[str]:
        """Reported so far; the watcher answers after them."""
        assert self.guard is not None
        said = []
        self.guard.say("watched")
        while not (line := self.guard.hear()).startswith("watched"):
            said.append(line)
        return said

    def close(self) -> None:
        for connection in self.clients:
            connection.close()
        self.wire.close()
        self.server.close()
        if self.guard is not None:
            self.guard.close()


def exchange(connection: socket.socket, words: bytes) -> bytes:
    connection.sendall(words)
    return connection.recv(4096)


def wait_for_zombie(process: int) -> None:
    deadline = time.monotonic() + BOUND_S
    while Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < deadline, "it does not end"
        time.sleep(0.001)


def closes_are_heard(host: Host, times: int) -> None:
    for _ in range(times):
        connection = host.connect()
        assert exchange(connection, b"bye") == b""
        connection.close()
    assert len(host.wire.last_words()) >= times


def unguarded(host: Host) -> None:
    exchange(host.clients[0], b"deaf")
    host.clients[0].sendall(b"never read")
    host.server.kill()
    assert host.wire.last_words() == host.ports(), "the test would not see last words"


def killed_with_unread_data(host: Host) -> None:
    closes_are_heard(host, 40)
    exchange(host.clients[0], b"deaf")
    host.clients[0].sendall(b"never read")
    host.wire.last_words()
    host.server.kill()
    # A dead port answers nothing either.
    host.clients[1].sendall(b"anybody there?")
    with socket.socket() as late:
        late.setblocking(False)
        late.connect_ex(SERVICE)
        assert host.wire.last_words() == set()
    assert host.guard is not None
    assert host.guard.hear() == f"death {host.server.pid} {int(signal.SIGKILL)}"
    assert host.wire.last_words() == set()
    # Once it is let out, the kernel has its say again.
    assert host.guard.ask("open") == "open"
    try:
        socket.create_connection(SERVICE, BOUND_S).close()
        raise AssertionError("nobody serves there")
    except ConnectionRefusedError:
        pass


# As when the agent decided to let frames out before it heard of the death.
def not_opened_unheard(host: Host) -> None:
    assert host.guard is not None
    assert host.guard.ask("hold") == "holding"
    host.server.kill()
    assert host.guard.ask("open") == "open"
    host.clients[1].sendall(b"draws a RST")
    assert host.wire.last_words() == set()
    assert host.guard.hear() == f"death {host.server.pid} {int(signal.SIGKILL)}"


def children_that_do_not_matter(host: Host) -> None:
    host.end_child(host.start_child("child"), signal.SIGKILL)
    # It serves connections of its own, and closes them by an orderly end: their clients are to hear of it.
    quitter = host.start_child("worker")
    host.wire.last_words()
    host.end_child(quitter, signal.SIGUSR1)
    assert host.wire.last_words() == host.ports()
    failing = host.start_child("child")
    host.end_child(failing, signal.SIGUSR2)
    assert host.deaths() == []
    closes_are_heard(host, 10)


def worker_crashes(host: Host) -> None:
    worker = host.start_child("worker")
    host.wire.last_words()
    host.end_child(worker, signal.SIGSEGV)
    assert host.wire.last_words() == set()
    assert host.deaths() == [f"death {worker} {int(signal.SIGSEGV)}"]


def listener_fails(host: Host) -> None:
    listener = host.start_child("listener")
    host.wire.last_words()
    host.end_child(listener, signal.SIGUSR2)
    assert host.wire.last_words() == set()
    assert host.deaths() == [f"death {listener} {3 << 8}"]


CASES: list[Callable[[Host], None]] = [
    unguarded, killed_with_unread_data, not_opened_unheard, children_that_do_not_matter, worker_crashes, listener_fails,
]


def build(host: str, client: str) -> None:
    for namespace in (host, client):
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
    run("ip", "-n", host, "link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", client)
    for namespace, addresses in ((host, (SERVICE[0], OTHER)), (client, (CLIENT,))):
        for address in addresses:
            run("ip", "-n", namespace, "addr", "add", f"{address}/24", "dev", "lan0")
        run("ip", "-n", namespace, "link", "set", "lan0", "up")


def run_cases(host_name: str, watcher: str) -> None:
    for case in CASES:
        host = Host(host_name, None if case is unguarded else watcher)
        try:
            case(host)
        finally:
            host.close()
        print(f"ok {case.__name__}", flush=True)


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    if len(sys.argv) == 3:
        run_cases(sys.argv[2], sys.argv[1])
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    host, client = (f"usg{os.getpid()}-{side}" for side in "HC")
    try:
        build(host, client)
        inside = ["ip", "netns", "exec", client, sys.executable, __file__, sys.argv[1], host]
        return subprocess.run(inside, check=False).returncode
    finally:
        for namespace in (host, client):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
