"""Reads the event logs of understudyd and understudy-agent while they grow."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Event:
    monotonic_ns: int
    name: str
    fields: dict[str, Any]

    def count(self, field: str) -> int:
        value = self.fields.get(field, 0)
        return value if isinstance(value, int) else 0


class EventLog:
    """A JSON-lines file that somebody else appends to. Only whole lines are taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Event] = []
        self._offset = 0

    def poll(self) -> list[Event]:
        """The events that are new since the last call."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._offset)
                chunk = file.read()
        except FileNotFoundError:
            return []
        end = chunk.rfind(b"\n") + 1
        self._offset += end
        fresh = []
        for line in chunk[:end].splitlines():
            try:
                fields = json.loads(line)
                fresh.append(Event(fields.pop("monotonic_ns"), fields.pop("event"), fields))
            except (ValueError, KeyError, AttributeError):
                continue  # a line the program did not finish before it was killed
        self.events += fresh
        return fresh

    def first(self, name: str) -> Event | None:
        return next((event for event in self.events if event.name == name), None)
