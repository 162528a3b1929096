"""`tools/lab`: parse, run, report."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import EXIT_FAILED, EXIT_SURVIVED, EXIT_USAGE, EnvironmentProblem, Interrupted, UsageError
from .failover import FailoverRun, Observer, clean_up_after_crashed_runs
from .options import FailoverOptions, check_failover, make_parser
from .report import summary
from .result import Result
from .stop_signals import interrupting


def write_json(path: Path, result: Result) -> None:
    """Whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(result.to_json(), indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def print_tails(tails: list[tuple[str, list[str]]]) -> None:
    for name, lines in tails:
        print(f"\n-- last lines of {name}", file=sys.stderr)
        for line in lines or ["(it said nothing)"]:
            print(f"   {line}", file=sys.stderr)


def _failover(options: FailoverOptions) -> int:
    with interrupting(), FailoverRun(options, Observer()) as run:
        result = run.execute()
        if options.json_file:
            write_json(options.json_file, result)
        print("\n".join(summary(result)), flush=True)
        if not result.survived:
            print_tails(run.tails())
    return EXIT_SURVIVED if result.survived else EXIT_FAILED


def _clean() -> int:
    if os.geteuid() != 0:
        raise EnvironmentProblem("the lab needs root: it removes network namespaces; use sudo")
    removed = clean_up_after_crashed_runs()
    print(f"removed {len(removed)} leftovers" if removed else "nothing left over")
    return EXIT_SURVIVED


def main(words: Sequence[str]) -> int:
    """Returns the exit status."""
    parser = make_parser()
    try:
        arguments = parser.parse_args(words)
        if arguments.command == "clean":
            return _clean()
        if arguments.command == "failover":
            return _failover(check_failover(arguments))
        raise UsageError("no command; see tools/lab --help")
    except (UsageError, EnvironmentProblem) as error:
        print(f"tools/lab: {error}", file=sys.stderr)
        return EXIT_USAGE
    except OSError as error:
        print(f"tools/lab: {error}", file=sys.stderr)
        return EXIT_USAGE
    except Interrupted as error:
        print(f"tools/lab: {error}; everything is cleaned up", file=sys.stderr)
        return 128 + error.signal_number
