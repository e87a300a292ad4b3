"""Which socket is at the other end of a unix socket, asked from Python."""

from __future__ import annotations

import os
import socket
import struct

SOCK_DIAG, BY_FAMILY, REQUEST = 4, 20, 1  # linux/netlink.h, linux/sock_diag.h
SHOW_NAME, SHOW_PEER, NAME, PEER = 1, 4, 0, 2  # linux/unix_diag.h
ANY = 0xFFFFFFFF


def peer_of(inode: int) -> tuple[int, bool] | None:
    """Its peer's inode, and whether it has an address itself. None: no peer, or the kernel does not say."""
    asked = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, ANY, inode, SHOW_NAME | SHOW_PEER, ANY, ANY)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, SOCK_DIAG) as kernel:
            kernel.send(struct.pack("=IHHII", 16 + len(asked), BY_FAMILY, REQUEST, 0, 0) + asked)
            answer = kernel.recv(4096, socket.MSG_DONTWAIT)
    except OSError:
        return None
    if struct.unpack_from("=IH", answer)[1] != BY_FAMILY:
        return None
    peer, named, at = 0, False, 32  # behind both headers
    while at + 4 <= len(answer):
        size, kind = struct.unpack_from("=HH", answer, at)
        if kind == PEER:
            (peer,) = struct.unpack_from("=I", answer, at + 4)
        named |= kind == NAME
        at += max(4, (size + 3) // 4 * 4)
    return (peer, named) if peer else None


def can_be_asked() -> bool:
    """Whether this kernel tells it, as one without unix_diag does not."""
    one, other = socket.socketpair()
    with one, other:
        return peer_of(os.fstat(one.fileno()).st_ino) == (os.fstat(other.fileno()).st_ino, False)
