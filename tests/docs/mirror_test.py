#!/usr/bin/env python3
"""Checks docs/mirror.md: every test, simulation profile and counter that it names exists."""

import re
import sys
from pathlib import Path

from compliance_test import NAMED, ROOT, TEST, known_tests, rows

TABLE = ROOT / "docs" / "mirror.md"
COUNTER = re.compile(r"(stack|tap)\.(\w+)")
UNPROVOKED = "unit tests alone: "


def known_profiles() -> set[str]:
    source = (ROOT / "tests" / "sim" / "scenario.cc").read_text(encoding="utf-8")
    return set(re.findall(r'profile = \{\s*"([\w-]+)"', source))


def known_counters() -> set[tuple[str, str]]:
    declared = {"stack": r"COUNTER\((\w+),", "tap": r"COUNTER\((\w+),|\{\"(\w+)\","}
    found = set()
    for layer, pattern in declared.items():
        for file in [*(ROOT / layer).rglob("*.def"), *(ROOT / layer).rglob("*.cc"), *(ROOT / layer).rglob("*.hh")]:
            for names in re.findall(pattern, file.read_text(encoding="utf-8")):
                found |= {(layer, name) for name in ([names] if isinstance(names, str) else names) if name}
    return found


def faults_of(cells: list[str], tests: dict[str, set[tuple[str, str]]], profiles: set[str],
              counters: set[tuple[str, str]]) -> list[str]:
    if len(cells) != 4:
        return [f"has {len(cells)} columns, not 4"]
    named = [(program, test) for program, names in NAMED.findall(cells[1]) for test in TEST.findall(names)]
    faults = [f"no test {program}: {'.'.join(test)}" for program, test in named if test not in tests.get(program, set())]
    if not named:
        faults.append("names no unit test")
    if not cells[2].startswith(UNPROVOKED):
        faults += [f"no profile {name}" for name in cells[2].split(", ") if name not in profiles]
    shown = COUNTER.findall(cells[3])
    faults += [f"no counter {'.'.join(counter)}" for counter in shown if counter not in counters]
    if not shown:
        faults.append("names no counter")
    return faults


def main() -> int:
    tests, profiles, counters = known_tests(), known_profiles(), known_counters()
    table = rows(TABLE.read_text(encoding="utf-8"))
    faults = [f"{TABLE.name}:{number}: {fault}" for number, cells in table
              for fault in faults_of(cells, tests, profiles, counters)]
    for fault in faults:
        print(fault)
    print(f"{len(table)} rows, {len(faults)} faults")
    return 1 if faults or not table else 0


if __name__ == "__main__":
    sys.exit(main())
