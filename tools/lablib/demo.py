"""`tools/demo`: one failover before your eyes."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .errors import (EXIT_FAILED, EXIT_SURVIVED, EXIT_USAGE, EnvironmentProblem, Interrupted, RunFailed,
                     UsageError)
from .failover import FailoverRun
from .live import LiveView
from .main import print_tails, write_json
from .options import ROOT, FailoverOptions, Parser, default_build_dir, version
from .report import summary
from .result import Result
from .stop_signals import interrupting
from .stream import choose_stream
from .svg import Mark, draw_takeover

_CLIENTS = 20
_DURATION_S = 8.0
_HEARTBEAT_INTERVAL_MS = 10


def _make_parser() -> Parser:
    parser = Parser(prog="tools/demo", allow_abbrev=False,
                    description="Sets up, then kills a server under its clients' hands and shows how the replica "
                                "carries on.",
                    epilog="Exit status: 0 all connections survived, 1 not so, 2 wrong usage or environment.")
    parser.add_argument("--version", action="version", version=f"tools/demo {version()}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file")
    parser.add_argument("--svg", type=Path, default=Path("takeover.svg"), metavar="FILE",
                        help="where the picture goes (default: %(default)s)")
    parser.add_argument("--sim", action="store_true",
                        help="the same failover in the deterministic simulation; needs no root")
    parser.add_argument("--clients", type=int, default=_CLIENTS, metavar="N",
                        help="connections (default: %(default)s)")
    return parser


def _set_up() -> None:
    done = subprocess.run([str(ROOT / "tools" / "setup"), "--programs"], check=False)
    if done.returncode != 0:
        raise EnvironmentProblem("the set-up failed: see above")


def _simulate(json_file: Path | None) -> int:
    program = str(default_build_dir() / "tests" / "understudy-sim")
    words = [program, "--demo", *(["--json", str(json_file)] if json_file else [])]
    sys.stdout.flush()
    os.execv(program, words)


def _draw(run: FailoverRun, result: Result, capture: Path, picture: Path) -> str:
    """Writes the picture. Returns a line that says so, or why there is none."""
    stream = choose_stream(capture)
    if stream is None or run.fault_record is None or run.wall_clock is None:
        return "no picture: no connection has bytes of both servers"
    marks = [Mark(0.0, "fault")]
    if result.detection_ms is not None:
        marks.append(Mark(result.detection_ms, "decision"))
    if result.recovery_ms is not None:
        marks.append(Mark(result.recovery_ms, "first frame of the replica"))
    fault_wall_ns = run.wall_clock.to_wall_ns(run.fault_record.began_ns)
    title = "What one client gets while its server dies"
    picture.write_text(draw_takeover(stream, fault_wall_ns, marks, title), encoding="utf-8")
    return f"picture: {picture}"


def _demonstrate(options: FailoverOptions, picture: Path) -> int:
    view = LiveView()
    with interrupting(), tempfile.TemporaryDirectory(prefix="understudy-demo-") as folder:
        capture = Path(folder) / "client.pcap"
        print(f"\n{options.clients} clients talk to a server; after {options.kill_after_s:g} s it loses its power.\n",
              flush=True)
        with FailoverRun(options, view, client_capture=capture) as run:
            try:
                result = run.execute()
            finally:
                view.close()
            if options.json_file:
                write_json(options.json_file, result)
            print("\n" + "\n".join(summary(result)))
            if result.survived:
                print("\n" + _draw(run, result, capture, picture))
            else:
                print_tails(run.tails())
    return EXIT_SURVIVED if result.survived else EXIT_FAILED


def main(words: Sequence[str]) -> int:
    """Returns the exit status."""
    try:
        arguments = _make_parser().parse_args(words)
        if not 1 <= arguments.clients <= 10_000:
            raise UsageError("--clients must be 1 to 10000")
        for name, path in (("--json", arguments.json), ("--svg", arguments.svg)):
            if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
                raise UsageError(f"{name} {path}: not a file in a folder that exists")
        if os.geteuid() != 0 and not arguments.sim:
            raise EnvironmentProblem("needs root for network namespaces: 'sudo tools/demo', or 'tools/demo --sim'")
        with interrupting():
            _set_up()
        if arguments.sim:
            return _simulate(arguments.json)
        options = FailoverOptions(clients=arguments.clients, duration_s=_DURATION_S, json_file=arguments.json,
                                  heartbeat_interval_ms=_HEARTBEAT_INTERVAL_MS, build_dir=default_build_dir())
        return _demonstrate(options, arguments.svg)
    except (UsageError, EnvironmentProblem, OSError) as error:
        print(f"tools/demo: {error}", file=sys.stderr)
        return EXIT_USAGE
    except RunFailed as error:
        print(f"tools/demo: {error}", file=sys.stderr)
        return EXIT_FAILED
    except Interrupted as error:
        print(f"tools/demo: {error}; everything is cleaned up", file=sys.stderr)
        return 128 + error.signal_number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
