"""The client of a run: understudy-load, or any program."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .options import FailoverOptions
from .process import Program, Tools
from .topology import Topology

# What a client may need beyond its duration: to open its connections, and to find that nothing comes any more.
_GRACE_S = 30.0


@dataclass(frozen=True)
class Progress:
    monotonic_ns: int
    connections: int
    messages: int


class ProgressPipe:
    """Reads understudy-load's progress lines without ever waiting for them."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reader, False)
        self._rest = b""

    def close_writer(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def close(self) -> None:
        self.close_writer()
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1

    def poll(self) -> list[Progress]:
        try:
            self._rest += os.read(self._reader, 1 << 16)
        except BlockingIOError:
            return []
        *lines, self._rest = self._rest.split(b"\n")
        progress = []
        for line in lines:
            # A client of any kind may hold the descriptor and write what it likes.
            try:
                fields = json.loads(line)
                progress.append(Progress(fields["monotonic_ns"], fields["connections"], fields["messages"]))
            except (ValueError, KeyError, TypeError):
                continue
        return progress


@dataclass
class ClientReport:
    """What the client says at its end. Without a report of understudy-load, `load` is None."""

    exit_status: int
    output: str
    load: dict[str, Any] | None = field(default=None)


class Client:
    """The client program of a run, in the client's namespace."""

    def __init__(self, options: FailoverOptions, tools: Tools, topology: Topology, folder: Path) -> None:
        self._json = folder / "client.json"
        self._custom = options.client is not None
        self._timeout_s = options.duration_s + _GRACE_S
        self.fault_file = folder / "fault.json"
        self.progress = ProgressPipe()
        words = self._custom_words(options) if self._custom else self._load_words(options, tools)
        try:
            self.program = Program("client", topology.client, words, folder, pass_fds=(self.progress.writer,))
        finally:
            self.progress.close_writer()

    @staticmethod
    def _custom_words(options: FailoverOptions) -> list[str]:
        assert options.client is not None
        # Not str.format(): the command may hold braces of its own.
        command = options.client.replace("{host}", options.service_address).replace("{port}", str(options.port))
        return ["sh", "-c", command]

    def _load_words(self, options: FailoverOptions, tools: Tools) -> list[str]:
        return [tools.path("understudy-load"),
                "--connect", options.service_endpoint,
                "--app", options.app,
                "--clients", str(options.clients),
                "--duration", f"{options.duration_s:g}",
                "--message-bytes", str(options.message_bytes),
                "--rate", f"{options.rate:g}",
                "--fault-file", str(self.fault_file),
                "--json", str(self._json),
                "--progress-fd", str(self.progress.writer)]

    @property
    def timeout_s(self) -> float:
        return self._timeout_s

    def report(self) -> ClientReport:
        """Its last word. Call it when the program has ended."""
        status = self.program.exit_status
        load = None
        if not self._custom:
            try:
                load = json.loads(self._json.read_text(encoding="utf-8"))
            except (FileNotFoundError, ValueError):
                load = None
        return ClientReport(-1 if status is None else status, self.program.output(), load)
