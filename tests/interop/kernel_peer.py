#!/usr/bin/python3
"""The kernel's end of an interoperation test: the conversation of transfer.hh over sockets, as server or client."""

import argparse
import errno
import heapq
import json
import selectors
import signal
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

MAGIC = 0x5553494F
REQUEST = struct.Struct(">IIQQQII")
RECEIPT = struct.Struct(">QQ")
ANSWER_LAST, RESET_BY_SERVER, RESET_BY_CLIENT = 1, 2, 4
DOWN_KEY = 0x5555
CHUNK = 256 * 1024
RESET_ERRORS = (errno.ECONNRESET, errno.EPIPE)

BLOCK_BYTES = 65_521
STEP = 7_919
_WORD = (1 << 64) - 1


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
    return z ^ (z >> 31)


def _double_block() -> bytes:
    words = b"".join(_mix(i).to_bytes(8, "little") for i in range(BLOCK_BYTES // 8 + 1))
    return words[:BLOCK_BYTES] * 2


@dataclass
class Pattern:
    """The bytes of a transfer, as pattern.cc makes them."""

    key: int
    block: bytes

    def bytes(self, offset: int, count: int) -> bytes:
        parts = []
        while count:
            begin = (self.key % BLOCK_BYTES + offset // BLOCK_BYTES * STEP) % BLOCK_BYTES
            within = offset % BLOCK_BYTES
            taken = min(count, BLOCK_BYTES - within)
            parts.append(self.block[begin + within:begin + within + taken])
            offset, count = offset + taken, count - taken
        return b"".join(parts)


@dataclass
class Tally:
    finished: int = 0
    faulty: int = 0
    received: int = 0
    sent: int = 0
    faults: Counter[str] = field(default_factory=Counter)


class Loop:
    """Waits for sockets and instants."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, "Conversation"]] = []
        self._order = 0

    def after(self, seconds: float, conversation: "Conversation") -> None:
        self._order += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._order, conversation))

    def turn(self, limit: float) -> None:
        wake = min(limit, self._timers[0][0] if self._timers else limit)
        for key, events in self.selector.select(max(0.0, wake - time.monotonic())):
            key.data(events)
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2].resume()


class Conversation:
    """One connection. Subclasses say what to send, and judge what comes."""

    def __init__(self, loop: Loop, sock: socket.socket, tally: Tally, block: bytes) -> None:
        self.loop, self.sock, self.tally, self.block = loop, sock, tally, block
        self.fault = ""
        self.received = self.sent = 0
        self.reads = self.pause_us = 0
        self.is_over = self.is_paused = self.has_read_all = False
        self._unsent = b""
        self._interest = 0
        sock.setblocking(False)
        self.update_interest()

    # What subclasses say.
    def next_bytes(self) -> bytes:
        """What is to be sent next, once all before is on its way."""
        raise NotImplementedError

    def wants_to_send(self) -> bool:
        raise NotImplementedError

    def take(self, data: bytes) -> None:
        raise NotImplementedError

    def take_end(self) -> None:
        raise NotImplementedError

    def expects_reset(self) -> bool:
        raise NotImplementedError

    # What they use.
    def note(self, fault: str) -> None:
        self.fault = self.fault or fault

    def finish(self) -> None:
        if self.is_over:
            return
        self.is_over = True
        self._register(0)
        self.sock.close()
        self.tally.finished += 1
        self.tally.received += self.received
        self.tally.sent += self.sent
        if self.fault:
            self.tally.faulty += 1
            self.tally.faults[self.fault] += 1

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.finish()

    def judge(self, expected: Pattern, at: int, data: bytes) -> None:
        if data == expected.bytes(at, len(data)):
            return
        right = expected.bytes(at, len(data))
        self.note(f"wrong byte at offset {at + next(i for i in range(len(data)) if data[i] != right[i])}")

    def on_events(self, events: int) -> None:
        try:
            if events & selectors.EVENT_READ and not self.is_over:
                self._read()
            if events & selectors.EVENT_WRITE and not self.is_over:
                self._write()
        except OSError as error:
            if not (self.expects_reset() and error.errno in RESET_ERRORS):
                self.note(f"{error.strerror} after {self.received} bytes read")
            self.finish()
        self.update_interest()

    def update_interest(self) -> None:
        wants_to_read = not self.is_paused and not self.has_read_all
        self._register((selectors.EVENT_READ if wants_to_read else 0) |
                       (selectors.EVENT_WRITE if self._unsent or self.wants_to_send() else 0))

    def resume(self) -> None:
        self.is_paused = False
        if not self.is_over:
            self.update_interest()

    def _register(self, interest: int) -> None:
        interest = 0 if self.is_over and interest else interest
        if interest == self._interest:
            return
        if not self._interest:
            self.loop.selector.register(self.sock, interest, self.on_events)
        elif interest:
            self.loop.selector.modify(self.sock, interest, self.on_events)
        else:
            self.loop.selector.unregister(self.sock)
        self._interest = interest

    def _read(self) -> None:
        data = self.sock.recv(self.reads or CHUNK)
        if not data:
            self.has_read_all = True
            self.take_end()
            return
        self.take(data)
        if self.reads and not self.is_over:
            self.is_paused = True
            self.loop.after(self.pause_us / 1e6, self)

    def _write(self) -> None:
        while not self.is_over and (self._unsent or self.wants_to_send()):
            self._unsent = self._unsent or self.next_bytes()
            if not self._unsent:
                continue
            try:
                taken = self.sock.send(self._unsent)
            except BlockingIOError:
                return
            self._unsent = self._unsent[taken:]


class Client(Conversation):
    def __init__(self, loop: Loop, sock: socket.socket, tally: Tally, block: bytes,
                 words: argparse.Namespace) -> None:
        self.words = words
        self.out = Pattern(words.key, block)
        self.expected = Pattern(words.key ^ DOWN_KEY, block)
        self.header_sent = self.is_shut = False
        self.receipt = b""
        super().__init__(loop, sock, tally, block)
        self.reads, self.pause_us = words.reads, words.pause_us

    def next_bytes(self) -> bytes:
        if not self.header_sent:
            self.header_sent = True
            words = self.words
            return REQUEST.pack(MAGIC, words.flags, words.up, words.down, words.key, words.server_reads,
                                words.server_pause_us)
        if self.sent < self.words.up:
            data = self.out.bytes(self.sent, min(CHUNK, self.words.up - self.sent))
            self.sent += len(data)
            return data
        self.is_shut = True
        if not self.words.flags & RESET_BY_CLIENT:
            self.sock.shutdown(socket.SHUT_WR)
        return b""

    def wants_to_send(self) -> bool:
        return not self.is_shut

    def expects_reset(self) -> bool:
        return bool(self.words.flags & RESET_BY_SERVER)

    def take(self, data: bytes) -> None:
        count = min(len(data), self.words.down - self.received)
        self.judge(self.expected, self.received, data[:count])
        self.received += count
        self.receipt += data[count:]
        if self.words.flags & RESET_BY_CLIENT and self.received >= self.words.down // 2:
            self.reset()

    def take_end(self) -> None:
        if self.received != self.words.down:
            self.note(f"FIN after {self.received} of {self.words.down} bytes")
        elif len(self.receipt) != RECEIPT.size:
            self.note(f"a receipt of {len(self.receipt)} bytes")
        elif RECEIPT.unpack(self.receipt) != (self.words.up, self.words.up):
            self.note(f"the server's receipt is {RECEIPT.unpack(self.receipt)}, sent were {self.words.up}")
        if self.expects_reset():
            self.note("FIN where a reset was expected")
        self.finish()


class Server(Conversation):
    def __init__(self, loop: Loop, sock: socket.socket, tally: Tally, block: bytes) -> None:
        self.header = b""
        self.flags = self.up = self.down = 0
        self.has_answered = False
        self.first_wrong: int | None = None
        self.expected = self.out = Pattern(0, block)
        super().__init__(loop, sock, tally, block)

    def next_bytes(self) -> bytes:
        if self.sent < self.down:
            data = self.out.bytes(self.sent, min(CHUNK, self.down - self.sent))
            self.sent += len(data)
            return data
        if not self.has_answered:
            self.has_answered = True
            return RECEIPT.pack(self.received, 0 if self.fault else self.received)
        self.sock.shutdown(socket.SHUT_WR)
        self.finish()
        return b""

    def wants_to_send(self) -> bool:
        if len(self.header) < REQUEST.size or (self.flags & ANSWER_LAST and not self.has_read_all):
            return False
        return self.sent < self.down or self.has_read_all

    def expects_reset(self) -> bool:
        return bool(self.flags & RESET_BY_CLIENT)

    def take(self, data: bytes) -> None:
        if len(self.header) < REQUEST.size:
            count = REQUEST.size - len(self.header)
            self.header, data = self.header + data[:count], data[count:]
            if len(self.header) < REQUEST.size:
                return
            magic, self.flags, self.up, self.down, key, self.reads, self.pause_us = REQUEST.unpack(self.header)
            if magic != MAGIC:
                self.note("what came first is no request")
                self.reset()
                return
            self.expected = Pattern(key, self.block)
            self.out = Pattern(key ^ DOWN_KEY, self.block)
        self.judge(self.expected, self.received, data)
        self.received += len(data)
        if self.flags & RESET_BY_SERVER and self.received >= self.up:
            self.reset()

    def take_end(self) -> None:
        if self.received != self.up:
            self.note(f"FIN after {self.received} of {self.up} bytes")
        if len(self.header) < REQUEST.size:
            self.finish()


def prepare(sock: socket.socket, words: argparse.Namespace) -> socket.socket:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, words.congestion_control.encode())
    if words.receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, words.receive_buffer)
    return sock


def serve(words: argparse.Namespace, tally: Tally) -> None:
    loop, block = Loop(), _double_block()
    listener = prepare(socket.socket(), words)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((words.address, words.port))
    listener.listen(4096)
    listener.setblocking(False)

    def accept(_: int) -> None:
        try:
            while True:
                Server(loop, listener.accept()[0], tally, block)
        except BlockingIOError:
            pass

    loop.selector.register(listener, selectors.EVENT_READ, accept)
    stopped: list[int] = []
    wakeup, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    loop.selector.register(wakeup, selectors.EVENT_READ, lambda _: wakeup.recv(16))
    print("ready", flush=True)
    limit = time.monotonic() + words.timeout
    while time.monotonic() < limit and not stopped:
        loop.turn(limit)


def call(words: argparse.Namespace, tally: Tally) -> None:
    loop, block = Loop(), _double_block()
    limit = time.monotonic() + words.timeout
    for _ in range(words.connections):
        sock = prepare(socket.socket(), words)
        sock.setblocking(False)
        sock.connect_ex((words.address, words.port))
        Client(loop, sock, tally, block, words)
    while tally.finished < words.connections and time.monotonic() < limit:
        loop.turn(limit)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("server", "client"))
    parser.add_argument("--address", required=True, help="to listen on, or to call")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--congestion-control", default="cubic")
    parser.add_argument("--receive-buffer", type=int, default=0, help="bytes; 0: the kernel's choice")
    parser.add_argument("--timeout", type=float, default=60, help="seconds")
    parser.add_argument("--connections", type=int, default=1)
    for name in ("up", "down", "flags", "key", "reads", "pause-us", "server-reads", "server-pause-us"):
        parser.add_argument(f"--{name}", type=int, default=0, help="as of interop_endpoint")
    words = parser.parse_args()
    tally = Tally()
    begin = time.monotonic()
    (serve if words.role == "server" else call)(words, tally)
    print(json.dumps({"finished": tally.finished, "faulty": tally.faulty, "received": tally.received,
                      "sent": tally.sent, "elapsed_s": time.monotonic() - begin, "faults": tally.faults}))
    return 1 if tally.faulty or (words.role == "client" and tally.finished < words.connections) else 0


if __name__ == "__main__":
    sys.exit(main())
