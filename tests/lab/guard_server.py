#!/usr/bin/python3
"""A server whose end is guarded: `guard_server.py ADDR PORT`. Connections are answered byte for byte; "bye" closes one,
"deaf" is the last that is read of one. Each line of standard input is obeyed and answered; the
processes end with status 0 at SIGUSR1, and 3 at SIGUSR2:

child    starts a process that holds what this one does, and nothing alone
worker   hands all connections to a process of their own
listener hands them, and the listening socket as well
"""

import os
import selectors
import signal
import socket
import sys


def _say(line: str) -> None:
    # In one piece: two processes speak.
    os.write(sys.stdout.fileno(), line.encode() + b"\n")


class _Server:
    def __init__(self, where: tuple[str, int]) -> None:
        self._poll = selectors.DefaultSelector()  # epoll
        self._listener = socket.create_server(where, backlog=128)
        self._poll.register(self._listener, selectors.EVENT_READ, self._accept)
        self._poll.register(sys.stdin, selectors.EVENT_READ, self._obey)
        self._connections: set[socket.socket] = set()

    def run(self) -> None:
        _say("ready")
        while True:
            for key, _ in self._poll.select():
                key.data(key.fileobj)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        self._connections.add(connection)
        self._poll.register(connection, selectors.EVENT_READ, self._answer)

    def _answer(self, connection: socket.socket) -> None:
        words = connection.recv(4096)
        if words == b"deaf":
            self._poll.unregister(connection)
        elif not words or words == b"bye":
            self._let_go(connection)
            return
        connection.sendall(words or b"")

    def _let_go(self, connection: socket.socket) -> None:
        self._connections.discard(connection)
        if connection in self._poll.get_map():
            self._poll.unregister(connection)
        connection.close()

    def _obey(self, lines: object) -> None:
        word = sys.stdin.readline().strip()
        if not word:
            sys.exit(0)
        # Nobody waits for them: they stay zombies, which are no processes to guard.
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # it outlives its parent, but not for long
            ends = {signal.SIGUSR1: 0, signal.SIGUSR2: 3}
            signal.pthread_sigmask(signal.SIG_BLOCK, ends)
            _say(f"{word} {os.getpid()}")
            os._exit(ends[signal.sigwait(ends)])
        if word in ("worker", "listener"):
            for connection in list(self._connections):
                self._let_go(connection)
        if word == "listener":
            self._poll.unregister(self._listener)
            self._listener.close()
        _say(f"{word} done")


if __name__ == "__main__":
    _Server((sys.argv[1], int(sys.argv[2]))).run()
