#!/usr/bin/env python3
"""Checks docs/compliance.md: every clause has a verdict, and every test that it names exists."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEDGER = ROOT / "docs" / "compliance.md"
VERDICTS = {"done", "partly", "not"}
GTEST = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)", re.MULTILINE)
# "unit_stack: Suite.Name, Instance/Suite.Name/Parameter"
NAMED = re.compile(r"(unit_\w+|sim): ((?:(?:\w+/)?\w+\.\w+(?:/\w+)?(?:, )?)+)")
TEST = re.compile(r"(?:\w+/)?(\w+)\.(\w+)(?:/\w+)?")
SCRIPT = re.compile(r"((?:tests|fuzz)/[\w./-]+\w)")
LAB = re.compile(r"(lab|interop): ([\w-]+)")


def gtests(folder: Path) -> set[tuple[str, str]]:
    return {found for file in folder.rglob("*.cc") for found in GTEST.findall(file.read_text(encoding="utf-8"))}


def known_tests() -> dict[str, set[tuple[str, str]]]:
    programs = {f"unit_{folder.name}": gtests(folder) for folder in (ROOT / "tests" / "unit").iterdir() if folder.is_dir()}
    return programs | {"sim": gtests(ROOT / "tests" / "sim")}


def rows(text: str) -> list[tuple[int, list[str]]]:
    """The tables' rows, without heads and rulers, each with its line number."""
    found = []
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.startswith("|") or set(line) <= set("|-: "):
            continue
        if number < len(lines) and lines[number].startswith("|") and set(lines[number]) <= set("|-: "):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        found.append((number, cells))
    return found


def faults_of(cells: list[str], tests: dict[str, set[tuple[str, str]]]) -> list[str]:
    if len(cells) != 4:
        return [f"has {len(cells)} columns, not 4"]
    verdict, proof = cells[2].split(" ")[0].rstrip(":,;"), cells[3]
    faults = []
    if verdict not in VERDICTS:
        faults.append(f"verdict {cells[2]!r} is none of {', '.join(sorted(VERDICTS))}")
    proof = proof.replace("`", "")
    named = [(program, test) for program, names in NAMED.findall(proof) for test in TEST.findall(names)]
    faults += [f"no test {program}: {'.'.join(test)}" for program, test in named if test not in tests.get(program, set())]
    scripts = SCRIPT.findall(proof)
    faults += [f"no file {script}" for script in scripts if not (ROOT / script).exists()]
    cases = LAB.findall(proof)
    for folder, case in cases:
        sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests" / folder).rglob("*.py"))
        if case not in sources and case.replace("-", "_") not in sources:
            faults.append(f"no case {folder}: {case}")
    if verdict == "done" and not (named or scripts or cases):
        faults.append("is done, and names no test")
    return faults


def main() -> int:
    tests = known_tests()
    table = rows(LEDGER.read_text(encoding="utf-8"))
    faults = [f"{LEDGER.name}:{number}: {fault}" for number, cells in table for fault in faults_of(cells, tests)]
    for fault in faults:
        print(fault)
    print(f"{len(table)} clauses, {len(faults)} faults")
    return 1 if faults or not table else 0


if __name__ == "__main__":
    sys.exit(main())
