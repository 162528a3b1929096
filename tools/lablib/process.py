"""Programs inside namespaces: started, watched, stopped, and quoted when something went wrong."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from .errors import EnvironmentProblem, RunFailed

_STOP_TIMEOUT_S = 10.0
_TAIL_LINES = 15


class Program:
    """One running program. Its output goes to a log file; a session of its own keeps Ctrl-C from it."""

    def __init__(self, name: str, namespace: str, words: list[str], folder: Path,
                 pass_fds: tuple[int, ...] = ()) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with open(self.log, "wb") as output:
            # `ip netns exec` replaces itself: the process id is the program's own.
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", namespace, *words], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True, pass_fds=pass_fds, cwd=folder)

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int | None:
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, signal_number: int = signal.SIGTERM) -> bool:
        """Ends it, and what it started in its session. Returns whether it obeyed the signal."""
        if self._process.poll() is not None:
            return True
        self._process.send_signal(signal_number)
        if self.wait(_STOP_TIMEOUT_S) is not None:
            return True
        self.kill()
        return False

    def ask_to_end(self) -> None:
        """SIGTERM, without waiting."""
        self._process.send_signal(signal.SIGTERM)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def unfreeze(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        if self._process.poll() is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._process.wait()

    def output(self, limit: int = 65536) -> str:
        try:
            return self.log.read_bytes()[-limit:].decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def tail(self) -> list[str]:
        return self.output().splitlines()[-_TAIL_LINES:]

    def wait_for_line(self, text: str, timeout_s: float) -> None:
        """Waits until its output holds the text."""
        deadline = time.monotonic() + timeout_s
        while text not in self.output():
            self.expect_running()
            if time.monotonic() > deadline:
                raise RunFailed(f"{self.name} did not say \"{text}\" within {timeout_s:.0f} s")
            time.sleep(0.01)

    def expect_running(self) -> None:
        status = self.exit_status
        if status is not None:
            last = next(iter(reversed(self.tail())), "it said nothing")
            raise RunFailed(f"{self.name} ended with status {status}: {last}")


class Tools:
    """Where the built programs are."""

    _PLACES = {
        "understudyd": "tools/daemon/understudyd",
        "understudy-agent": "tools/agent/understudy-agent",
        "understudy": "tools/cli/understudy",
        "understudy-twin": "tools/twin/understudy-twin",
        "understudy-load": "tools/load/understudy-load",
        "impair": "tests/interop/impair",
    }

    def __init__(self, build_dir: Path) -> None:
        self._build_dir = build_dir

    def path(self, name: str) -> str:
        return str(self._build_dir / self._PLACES[name])

    def check(self, names: list[str]) -> None:
        for name in names:
            if not os.access(self.path(name), os.X_OK):
                raise EnvironmentProblem(f"{self.path(name)} is not built; run tools/setup")
        for name in ("ip", "tc", "ethtool", "tcpdump", "sysctl"):
            if shutil.which(name) is None:
                raise EnvironmentProblem(f"{name} is not installed; run tools/setup")
