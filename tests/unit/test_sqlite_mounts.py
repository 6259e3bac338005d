"""Where a SQLite file may be mounted: what Linux reports, and what opening a file there says."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

from pymailbox import StorageUnavailableError, open_mailbox
from pymailbox.backends.sqlite import mounts
from tests.unit.sqlite_support import names_in, run_with_mounts

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells where files are mounted")

CONTAINER = r"""
812 700 0:113 / / rw,relatime master:5 - overlay overlay rw,lowerdir=/a:/b,upperdir=/c,workdir=/d
813 812 0:116 / /proc rw,nosuid - proc proc rw
814 812 0:117 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k
900 812 8:1 /home/me/app.db /data/app.db rw,relatime - ext4 /dev/sda1 rw
901 812 8:1 /home/me/with\040space /my\040data rw,relatime - ext4 /dev/sda1 rw
902 812 0:52 / /net rw,relatime shared:4 - nfs4 server:/export rw,vers=4.2
903 902 8:2 / /net/local rw,relatime - xfs /dev/sdb1 rw
904 812 0:60 / /share rw,relatime - cifs //server/my\040share rw
905 812 0:61 / /ssh rw - fuse.sshfs me@server:/ rw
"""

COVERED = """
20 1 8:1 / / rw - ext4 /dev/sda1 rw
21 20 0:40 / /data/inner rw - nfs server:/inner rw
22 20 8:2 / /data rw - xfs /dev/sdb1 rw
23 22 0:41 / /data rw - tmpfs tmpfs rw
24 23 0:42 / /data/new rw - ceph server:/ rw
"""


def point_and_kind(table: str, path: str) -> tuple[str, str] | None:
    mount = mounts.mount_of(path, mounts.parse(table.splitlines()))
    return None if mount is None else (mount.point, mount.kind)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/app.db", ("/", "overlay")),
        ("/data/other.db", ("/", "overlay")),
        ("/data/app.db", ("/data/app.db", "ext4")),
        ("/data/app.db-wal", ("/", "overlay")),
        ("/my data/app.db", ("/my data", "ext4")),
        ("/my\\040data/app.db", ("/", "overlay")),
        ("/net/app.db", ("/net", "nfs4")),
        ("/network/app.db", ("/", "overlay")),
        ("/net/local/app.db", ("/net/local", "xfs")),
    ],
)
def test_the_mount_of_a_path(path: str, expected: tuple[str, str]) -> None:
    assert point_and_kind(CONTAINER, path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/data/app.db", ("/data", "tmpfs")),
        ("/data/inner/app.db", ("/data", "tmpfs")),
        ("/data/new/app.db", ("/data/new", "ceph")),
    ],
)
def test_what_is_mounted_over_others_hides_them(path: str, expected: tuple[str, str]) -> None:
    assert point_and_kind(COVERED, path) == expected


@pytest.mark.parametrize(
    "table", ["", "\n", "no table at all", "1 2 3", "x y 0:1 / / rw - ext4 dev rw", "1 0 0:1 / / rw"]
)
def test_a_table_that_cannot_be_read_tells_nothing(table: str) -> None:
    assert point_and_kind(table, "/data/app.db") is None


@pytest.mark.parametrize(
    ("kind", "point", "remote"),
    [
        ("ext4", "/", False),
        ("overlay", "/", False),
        ("fuseblk", "/media/disk", False),
        ("fuse.fuse-overlayfs", "/", False),
        ("nfs", "/", True),
        ("nfs4", "/home", True),
        ("cifs", "/share", True),
        ("smb3", "/share", True),
        ("fuse.s3fs", "/bucket", True),
        ("fuse.of-next-year", "/cloud", True),
        ("9p", "/mnt/c", True),
        ("9p", "/", False),
        ("virtiofs", "/work", True),
    ],
)
def test_which_file_systems_other_machines_share(kind: str, point: str, remote: bool) -> None:
    assert mounts.is_remote(mounts.Mount(1, 0, point, kind, "somewhere")) is remote


def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: str) -> None:
    (tmp_path / "mountinfo").write_text(table)
    monkeypatch.setattr(mounts, "_TABLE", str(tmp_path / "mountinfo"))


def make_empty_with_link(file: Path) -> None:
    file.touch()
    file.with_name("link.db").symlink_to(file)


def mounted_at(path: Path, kind: str) -> str:
    return f"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n21 20 0:40 / {path} rw - {kind} server:/export rw\n"


@LINUX_ONLY
async def test_a_network_file_system_is_warned_of(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, tmp_path, mounted_at(tmp_path, "nfs4"))
    with pytest.warns(RuntimeWarning, match=r"mail\.db is on nfs4 \(server:/export at .*machine"):
        mailbox = await open_mailbox(location)
    await mailbox.enqueue(b"", b"")
    await mailbox.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="nfs4"):
            await open_mailbox(f"sqlite:///{tmp_path}/another.db#inbox")
    assert names_in(tmp_path) == ["mail.db", "mountinfo"]


@LINUX_ONLY
@pytest.mark.parametrize("table", [None, "", "nonsense\n"])
async def test_where_nothing_is_told_a_file_opens(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str | None
) -> None:
    if table is None:
        monkeypatch.setattr(mounts, "_TABLE", str(tmp_path / "none"))
    else:
        pretend(monkeypatch, tmp_path, table)
    async with open_mailbox(location) as mailbox:
        await mailbox.enqueue(b"", b"")
        assert (await mailbox.status()).queued_messages == 1


@LINUX_ONLY
async def test_a_file_mounted_alone_is_refused_by_any_path_to_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_empty_with_link(file)
    pretend(monkeypatch, tmp_path, mounted_at(file, "ext4"))
    for name in "mail.db", "link.db":
        with pytest.raises(StorageUnavailableError, match=r"without its folder.*Mount the folder"):
            await open_mailbox(f"sqlite:///{tmp_path}/{name}#inbox")
    assert names_in(tmp_path) == ["link.db", "mail.db", "mountinfo"]
    async with open_mailbox(f"sqlite:///{tmp_path}/another.db#inbox") as mailbox:
        await mailbox.enqueue(b"", b"")
        assert (await mailbox.status()).queued_messages == 1


BIND_MOUNTS = """
import asyncio, subprocess, sys
from pathlib import Path
from pymailbox import StorageUnavailableError, open_mailbox

async def main(place):
    (place / "a").mkdir(), (place / "b").mkdir(), (place / "c").mkdir()
    async with open_mailbox(f"sqlite:///{place}/a/app.db#inbox") as mailbox:
        await mailbox.enqueue(b"", b"first")
        (place / "b/app.db").touch()
        subprocess.run(["mount", "--bind", place / "a/app.db", place / "b/app.db"], check=True)
        subprocess.run(["mount", "--bind", place / "a", place / "c"], check=True)
        try:
            await open_mailbox(f"sqlite:///{place}/b/app.db#inbox")
        except StorageUnavailableError as error:
            print("alone:", "Mount the folder" in str(error))
        async with open_mailbox(f"sqlite:///{place}/c/app.db#inbox") as other:
            print("folder:", [record.payload for record in await other.dequeue()], await mailbox.dequeue())
    print(*sorted(path.name for path in (place / "b").iterdir()))

asyncio.run(main(Path(sys.argv[1])))
"""


@LINUX_ONLY
def test_a_bind_mount_of_the_file_and_one_of_its_folder(tmp_path: Path) -> None:
    said = run_with_mounts(BIND_MOUNTS, tmp_path)
    assert said.splitlines() == ["alone: True", "folder: [b'first'] []", "app.db"]
