#!/usr/bin/python3
"""A client of redis-server that knows every answer: ADDRESS PORT SECONDS.

Three connections: one writes keys one after the other, one writes them in pipelines, one is subscribed to what the first
publishes. All go on for SECONDS; then every key is read back. Exit status 1 and one line for the first wrong byte."""

import socket
import sys
import time

PIPELINE = 32
TIMEOUT_S = 20.0


class Connection:
    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), TIMEOUT_S)
        self._stream = self._socket.makefile("rb")

    def send(self, *commands: tuple[str, ...]) -> None:
        self._socket.sendall(b"".join(
            b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)
            for words in commands))

    def expect(self, answer: bytes) -> None:
        got = self._stream.read(len(answer))
        assert got == answer, f"expected {answer!r}, got {got!r}"

    def call(self, words: tuple[str, ...], answer: bytes) -> None:
        self.send(words)
        self.expect(answer)


def bulk(text: str) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(text), text.encode())


def value(key: str) -> str:
    return f"{key} of value"


def main() -> None:
    host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    single, pipelined, subscribed = (Connection(host, port) for _ in range(3))
    subscribed.call(("SUBSCRIBE", "news"), b"*3\r\n" + bulk("subscribe") + bulk("news") + b":1\r\n")
    end = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < end or rounds * (PIPELINE + 1) < 10_000:
        keys = [f"p{rounds}.{i}" for i in range(PIPELINE)]
        pipelined.send(*(("SET", key, value(key)) for key in keys))
        single.call(("SET", f"s{rounds}", value(f"s{rounds}")), b"+OK\r\n")
        single.call(("PUBLISH", "news", f"round {rounds}"), b":1\r\n")
        subscribed.expect(b"*3\r\n" + bulk("message") + bulk("news") + bulk(f"round {rounds}"))
        pipelined.expect(b"+OK\r\n" * PIPELINE)
        rounds += 1
        time.sleep(0.01)
    for number in range(rounds):
        single.call(("GET", f"s{number}"), bulk(value(f"s{number}")))
        keys = [f"p{number}.{i}" for i in range(PIPELINE)]
        pipelined.send(("MGET", *keys))
        pipelined.expect(b"*%d\r\n" % PIPELINE + b"".join(bulk(value(key)) for key in keys))
    single.call(("DBSIZE",), b":%d\r\n" % (rounds * (PIPELINE + 1)))
    print(f"{rounds * (PIPELINE + 1)} keys written and read back")


if __name__ == "__main__":
    try:
        main()
    except (OSError, AssertionError) as error:
        sys.exit(f"redis_client.py: {error}")
