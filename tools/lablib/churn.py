"""Connections that come and go beside the clients that stay: `churn.py HOST PORT RATE`, run in the client's namespace.

Each is opened, says something, reads it back and closes. What was not answered as it was sent is told at the end, which
SIGTERM brings: a line of JSON.
"""

import json
import signal
import socket
import sys
import threading
import time

_THREADS = 4
_TIMEOUT_S = 20.0
_REASONS_KEPT = 5


class _Churn:
    def __init__(self, host: str, port: int, rate: float) -> None:
        self._where = (host, port)
        self._pause_s = _THREADS / rate
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._answered = 0
        self._failures: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(_THREADS)]

    def run_until_stopped(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self._stopping.set())
        for thread in self._threads:
            thread.start()
        print("ready", flush=True)
        self._stopping.wait()
        for thread in self._threads:
            thread.join()
        print(json.dumps({"answered": self._answered, "failed": len(self._failures),
                          "reasons": self._failures[:_REASONS_KEPT]}), flush=True)

    def _run(self, number: int) -> None:
        count = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            count += 1
            failure = self._talk(f"churn {number} {count} ".encode() * 3)
            with self._lock:
                if failure is None:
                    self._answered += 1
                else:
                    self._failures.append(failure)
            self._stopping.wait(max(0.0, began + self._pause_s - time.monotonic()))

    def _talk(self, words: bytes) -> str | None:
        step = "connect"
        try:
            with socket.create_connection(self._where, _TIMEOUT_S) as connection:
                step = "answer"
                connection.sendall(words)
                heard = b""
                while len(heard) < len(words):
                    more = connection.recv(len(words) - len(heard))
                    if not more:
                        return f"{step}: closed after {len(heard)} bytes"
                    heard += more
                return None if heard == words else f"{step}: wrong bytes"
        except OSError as error:
            return f"{step}: {error}"


if __name__ == "__main__":
    _Churn(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])).run_until_stopped()
