"""Errors that end a run with one line, and the exit statuses of the lab's programs."""

EXIT_SURVIVED = 0
EXIT_FAILED = 1
EXIT_USAGE = 2


class UsageError(Exception):
    """The command line is wrong, or asks for what is not there yet."""


class EnvironmentProblem(Exception):
    """The machine lacks something: privilege, a program, a kernel feature."""


class RunFailed(Exception):
    """The run could not be judged: a program did not start or ended too early."""


class Interrupted(Exception):
    """SIGINT, SIGTERM or SIGHUP: clean up and leave."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number
