#!/usr/bin/env python3
"""Captures of the world through understudy-replay-corpus: as they are, and as a bad mirror would show them.

usage: corpus_test.py PROGRAM

UNDERSTUDY_CAPTURES names a folder with captures and their manifest.jsonl; without it the test is skipped.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77
LEAST_IDENTICAL = 0.98
# Name, options, and whether nothing is lost: then nearly all must be identical.
RUNS = [
    ("as they are", [], True),
    ("doubled and reordered", ["--mutate", "1..10", "--duplicate", "5%", "--reorder", "5%"], True),
    ("lost", ["--mutate", "11..20", "--loss", "2%"], False),
    ("all at once", ["--mutate", "21..30", "--loss", "1%", "--reorder", "2%", "--duplicate", "2%", "--truncate", "1%"],
     False),
]


def replay(program: str, captures: Path, options: list[str], out: Path) -> dict:
    command = [program, "--root", str(captures), "--manifest", str(captures / "manifest.jsonl"), "--json", str(out)]
    subprocess.run(command + options, check=False, timeout=280)
    return json.loads(out.read_text(encoding="utf-8"))


def main() -> int:
    captures = Path(os.environ.get("UNDERSTUDY_CAPTURES", ""))
    if not (captures / "manifest.jsonl").is_file():
        print("skipped: UNDERSTUDY_CAPTURES names no folder with a manifest.jsonl")
        return SKIPPED
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, options, is_whole in RUNS:
            print(f"== {name}", flush=True)
            result = replay(sys.argv[1], captures, options, Path(folder) / "out.json")
            if result["different_strict"] != 0:
                print(f"FAILED: {result['different_strict']} strict conversations differ")
                failures += 1
            if is_whole and result["identical"] < LEAST_IDENTICAL * result["conversations"]:
                print(f"FAILED: fewer than {LEAST_IDENTICAL:.0%} are identical")
                failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
