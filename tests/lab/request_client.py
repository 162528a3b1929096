#!/usr/bin/python3
"""A client of the digest servers: ADDRESS PORT SECONDS CONNECTIONS.

Sends lines, expects their SHA-256 in hex as the answer, in every connection's turn, for SECONDS; then half-closes each
connection and expects "bye". Exit status 1 and one line for the first wrong byte."""

import hashlib
import socket
import sys
import time

TIMEOUT_S = 20.0


def main() -> None:
    host, port, seconds, count = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    connections = [socket.create_connection((host, port), TIMEOUT_S) for _ in range(count)]
    streams = [connection.makefile("rb") for connection in connections]
    end = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < end:
        lines = [f"request {rounds} of connection {number}".encode() for number in range(count)]
        for connection, line in zip(connections, lines):
            connection.sendall(line + b"\n")
        for stream, line in zip(streams, lines):
            answer = stream.readline()
            assert answer == hashlib.sha256(line).hexdigest().encode() + b"\n", f"{line!r} got {answer!r}"
        rounds += 1
        time.sleep(0.02)
    for connection, stream in zip(connections, streams):
        connection.shutdown(socket.SHUT_WR)
        assert stream.read() == b"bye\n", "the end is missing"
    print(f"{rounds * count} answers")


if __name__ == "__main__":
    try:
        main()
    except (OSError, AssertionError) as error:
        sys.exit(f"request_client.py: {error}")
