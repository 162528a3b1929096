"""Runs the small administrative programs (ip, tc, ethtool, sysctl)."""

import subprocess

from .errors import EnvironmentProblem

_TIMEOUT_S = 20.0


def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end. With `check`, a failure raises EnvironmentProblem with the command's own words."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise EnvironmentProblem(f"{words[0]} is not installed; run tools/setup") from error
    except subprocess.TimeoutExpired as error:
        raise EnvironmentProblem(f"no end within {_TIMEOUT_S:.0f} s: {' '.join(words)}") from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise EnvironmentProblem(f"{' '.join(words)}: {said[-1] if said else f'status {done.returncode}'}")
    return done


def ip_batch(namespace: str, lines: list[str]) -> None:
    """Runs many `ip` commands in one process: a lab stands in a fraction of a second."""
    words = ["ip", "-n", namespace, "-batch", "-"]
    done = subprocess.run(words, input="\n".join(lines) + "\n", capture_output=True, text=True,
                          timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise EnvironmentProblem(f"ip in {namespace}: {said[0] if said else 'failed'}")
