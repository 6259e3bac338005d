"""Where a file is mounted, according to Linux: everybody who opens a mailbox file must share what guards it.

Its log and its locks are files beside it, so a container must get their folder, not the file alone. Its log's index is
shared memory, which two machines do not share; and many network file systems do not pass locks on.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ...contract.errors import StorageUnavailableError

_TABLE: Final = "/proc/self/mountinfo"

_SHARED_BY_NETWORK: Final = frozenset(
    [
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "fhgfs",
        "fuse",
        "gfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
    ]
)
_SHARED_WITH_HOST: Final = frozenset(
    ["9p", "drvfs", "fakeowner", "fuse.grpcfuse", "osxfs", "prl_fs", "vboxsf", "virtiofs", "vmhgfs"]
)
"""Folders of a virtual machine's host; some sandboxes have their root on one, which is fine."""

_LOCAL_FUSE: Final = frozenset(
    ["fuse.bindfs", "fuse.cryfs", "fuse.encfs", "fuse.fuse-overlayfs", "fuse.gocryptfs", "fuse.lxcfs", "fuse.ntfs-3g"]
)
"""File systems in user space whose files are on this machine. (``fuseblk`` is on one of its disks.)"""

_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """A line of the table."""

    number: int
    parent: int
    point: str
    """Its path."""
    kind: str
    """Its file system."""
    source: str


def check(file: str) -> None:
    """Checks where the file is; warns (``RuntimeWarning``) if it is on another machine. Does nothing if that is
    unknown.

    Raises:
        StorageUnavailableError: the file itself is mounted, without its folder.
    """
    if sys.platform != "linux":
        return
    try:
        with open(_TABLE, encoding="utf-8", errors="surrogateescape") as table:  # noqa: PTH123 (quicker than a Path's)
            mounts = list(parse(table))
        path = os.path.realpath(file)
    except OSError:
        return
    mount = mount_of(path, mounts)
    if mount is None:
        return
    if mount.point == path:
        raise StorageUnavailableError(
            f"the mailbox file {file} is mounted on its own, without its folder. Log and locks are files beside it: "
            "whoever opens it elsewhere does not see them, and messages would be lost or handed out twice. Mount the "
            f"folder instead, for example: docker run -v ./data:{os.path.dirname(path)}"  # noqa: PTH120
        )
    if is_remote(mount):
        warnings.warn(
            f"the mailbox file {file} is on {mount.kind} ({mount.source} at {mount.point}). Programs on one machine "
            "may use it, as far as that file system keeps locks; those on several machines, or inside and outside of a "
            "virtual machine, damage it. Keep it on a disk of this machine, or use a mailbox on a server",
            RuntimeWarning,
            stacklevel=2,
        )


def parse(table: Iterable[str]) -> Iterator[Mount]:
    """The mounts in the lines of a ``mountinfo``; skips lines that cannot be read."""
    for line in table:
        # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
        before, _, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if len(fields) >= 6 and len(rest) >= 2 and fields[0].isdecimal() and fields[1].isdecimal():
            yield Mount(int(fields[0]), int(fields[1]), _unescape(fields[4]), _unescape(rest[0]), _unescape(rest[1]))


def mount_of(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """The mount in which an absolute path without symbolic links is; None if there is none."""
    mounts = list(mounts)
    numbers = {mount.number for mount in mounts}
    on_the_way = [mount for mount in mounts if f"{path}/".startswith(f"{mount.point.rstrip('/')}/")]
    found = next((mount for mount in on_the_way if mount.parent not in numbers or mount.parent == mount.number), None)
    while found is not None:
        # a mount nearer to the root hides what was mounted below it before
        inside = [mount for mount in on_the_way if mount.parent == found.number != mount.number]
        if not inside:
            break
        found = min(inside, key=lambda mount: len(mount.point))
    return found


def is_remote(mount: Mount) -> bool:
    """Whether other machines may open the same files."""
    if mount.kind in _SHARED_WITH_HOST:
        return mount.point != "/"
    if mount.kind in _SHARED_BY_NETWORK:
        return True
    return mount.kind.startswith("fuse.") and mount.kind not in _LOCAL_FUSE


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda escape: chr(int(escape[1], 8)), text) if "\\" in text else text
