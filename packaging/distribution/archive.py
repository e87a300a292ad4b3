"""A tar.gz whose bytes depend on nothing but the files' names, modes and contents."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

from .wheels import EPOCH


def pack(root: Path, archive: Path) -> None:
    """Pack what is below ``root``."""
    part = archive.with_name(f"{archive.name}.part")
    with (
        part.open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=int(EPOCH)) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in sorted(root.rglob("*")):
            member = tar.gettarinfo(path, path.relative_to(root).as_posix())
            member.uid = member.gid = 0
            member.uname = member.gname = "root"
            member.mtime = int(EPOCH)
            member.mode = 0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as content:
                    tar.addfile(member, content)
            else:
                tar.addfile(member)
    part.rename(archive)
