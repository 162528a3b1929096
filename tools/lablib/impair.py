"""The bad link of tests/interop, between two interfaces of the switch."""

from collections.abc import Sequence
from pathlib import Path

from .process import Program, Tools

_READY_S = 10.0


class Impair:
    """Moves frames between two interfaces, and treats both directions alike."""

    def __init__(self, name: str, namespace: str, between: tuple[str, str], words: Sequence[str], tools: Tools,
                 folder: Path) -> None:
        self.program = Program(name, namespace, [tools.path("impair"), *between, *words], folder)

    def wait_until_ready(self) -> None:
        self.program.wait_for_line("ready", _READY_S)
