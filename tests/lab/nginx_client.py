#!/usr/bin/python3
"""A client of nginx that knows every file: ADDRESS PORT SECONDS FOLDER.

One connection downloads FOLDER/big so slowly that it takes SECONDS; four others ask for FOLDER/small over and over on
kept-alive connections, until the download ends. Exit status 1 and one line for the first wrong byte."""

import hashlib
import http.client
import sys
import threading
import time
from pathlib import Path

CHUNK = 1 << 18
TIMEOUT_S = 20.0
SMALL_CONNECTIONS = 4


def expect_whole(response: http.client.HTTPResponse, size: int) -> None:
    assert response.status == 200, f"status {response.status}"
    assert int(response.headers["Content-Length"]) == size, response.headers["Content-Length"]
    assert "Date" in response.headers


class Download(threading.Thread):
    """Runs to its end, or keeps the reason why not."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.download()
        except (OSError, AssertionError, http.client.HTTPException) as error:
            self.error = error

    def download(self) -> None:
        raise NotImplementedError


class Big(Download):
    def __init__(self, host: str, port: int, seconds: float, file: Path) -> None:
        super().__init__()
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        self._seconds, self._file = seconds, file

    def download(self) -> None:
        size = self._file.stat().st_size
        self._connection.request("GET", f"/{self._file.name}")
        response = self._connection.getresponse()
        expect_whole(response, size)
        digest = hashlib.sha256()
        began = time.monotonic()
        for got in range(0, size, CHUNK):
            digest.update(response.read(min(CHUNK, size - got)))
            time.sleep(max(0.0, began + self._seconds * got / size - time.monotonic()))
        expected = hashlib.sha256(self._file.read_bytes())
        assert digest.digest() == expected.digest(), f"{self._file.name} came with another checksum"


class Small(Download):
    def __init__(self, host: str, port: int, big: Big, file: Path) -> None:
        super().__init__()
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        self._big, self._file = big, file
        self.count = 0

    def download(self) -> None:
        body = self._file.read_bytes()
        while self._big.is_alive():
            self._connection.request("GET", f"/{self._file.name}")
            response = self._connection.getresponse()
            expect_whole(response, len(body))
            assert response.read() == body, f"{self._file.name} came with other bytes"
            self.count += 1
            time.sleep(0.02)


def main() -> None:
    host, port, seconds, folder = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    big = Big(host, port, seconds, folder / "big")
    small = [Small(host, port, big, folder / "small") for _ in range(SMALL_CONNECTIONS)]
    for download in (big, *small):
        download.start()
    for download in (big, *small):
        download.join()
        if download.error is not None:
            sys.exit(f"nginx_client.py: {download.error!r}")
    print(f"{(folder / 'big').stat().st_size} bytes in one download, {sum(one.count for one in small)} small ones")


if __name__ == "__main__":
    main()
