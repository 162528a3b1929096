"""What may befall a run."""

import enum


class FaultKind(enum.Enum):
    POWER = "power"
    LINK = "link"
    FREEZE = "freeze"
    PROCESS = "process"
    RETURN = "return"
    RETURN_LINK = "return-link"
    SWITCHOVER = "switchover"
    SHUTDOWN = "shutdown"
    HEARTBEAT_CUT = "heartbeat-cut"
    ONE_LINK_CUT = "one-link-cut"
    MIRROR_CUT = "mirror-cut"
    STALL = "stall"
    NONE = "none"

    @property
    def is_death(self) -> bool:
        """Whether the replica must take over. After all others it must not."""
        return self not in (FaultKind.HEARTBEAT_CUT, FaultKind.ONE_LINK_CUT, FaultKind.MIRROR_CUT, FaultKind.STALL,
                            FaultKind.NONE)

    @property
    def has_sequel(self) -> bool:
        return self in (FaultKind.RETURN, FaultKind.RETURN_LINK, FaultKind.STALL)
