"""Cuts links from outside a namespace, precisely: a rtnetlink socket opened inside it beforehand.

Starting `ip` takes milliseconds that would count as detection time; a message on an open socket takes
microseconds, and its acknowledgement says when the link was certainly down.
"""

import ctypes
import os
import socket
import struct

from . import clock
from .errors import EnvironmentProblem

_CLONE_NEWNET = 0x40000000
_RTM_NEWLINK = 16
_NLM_F_REQUEST = 0x1
_NLM_F_ACK = 0x4
_NLMSG_ERROR = 0x2
_IFF_UP = 0x1
_HEADER = struct.Struct("=IHHII")
_IFINFOMSG = struct.Struct("=BxHiII")
_ANSWER_TIMEOUT_S = 5.0

_libc = ctypes.CDLL(None, use_errno=True)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise EnvironmentProblem(f"cannot enter a network namespace: {os.strerror(code)}")


class NamespaceLinks:
    """The links of one namespace, with a socket that stays inside it while we are outside."""

    def __init__(self, namespace: str) -> None:
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            target = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                _enter(target)
                try:
                    self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
                    self._index = {name: index for index, name in socket.if_nameindex()}
                finally:
                    _enter(own)
            finally:
                os.close(target)
        finally:
            os.close(own)
        self._socket.settimeout(_ANSWER_TIMEOUT_S)
        self._sequence = 0

    def take_down(self, interface: str) -> tuple[int, int]:
        """Takes one link down. Returns CLOCK_MONOTONIC just before the request and after its acknowledgement."""
        return self._set(interface, 0)

    def bring_up(self, interface: str) -> tuple[int, int]:
        """Brings one link up. Returns the same."""
        return self._set(interface, _IFF_UP)

    def _set(self, interface: str, flags: int) -> tuple[int, int]:
        self._sequence += 1
        body = _IFINFOMSG.pack(socket.AF_UNSPEC, 0, self._index[interface], flags, _IFF_UP)
        header = _HEADER.pack(_HEADER.size + len(body), _RTM_NEWLINK, _NLM_F_REQUEST | _NLM_F_ACK,
                              self._sequence, 0)
        before = clock.monotonic_ns()
        self._socket.send(header + body)
        answer = self._socket.recv(4096)
        after = clock.monotonic_ns()
        _, kind, _, sequence, _ = _HEADER.unpack_from(answer)
        (code,) = struct.unpack_from("=i", answer, _HEADER.size)
        if kind != _NLMSG_ERROR or sequence != self._sequence or code != 0:
            raise EnvironmentProblem(f"cannot take {interface} {'up' if flags else 'down'}: {os.strerror(-code)}")
        return before, after

    def close(self) -> None:
        self._socket.close()
