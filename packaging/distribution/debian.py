"""Packages of a Debian release for either machine: a package manager's state of its own, signatures checked by apt."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from .machine import MACHINES, Machine
from .run import BuildError, run, say, tool

SUITE: Final = "trixie"
"""The newest stable release whose CPython and glibc were tried."""

PYTHON: Final = "python3.13"

PACKAGES: Final = (
    "libbz2-1.0",
    "libc6",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    f"lib{PYTHON}-minimal",
    f"lib{PYTHON}-stdlib",
    "libssl3t64",
    "libuuid1",
    "libzstd1",
    f"{PYTHON}-minimal",
    "zlib1g",
)

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Package(NamedTuple):
    """One .deb."""

    name: str
    version: str
    machine: str
    sha256: str


class Archive:
    """The release's package lists, fetched once for each process."""

    def __init__(self, cache: Path) -> None:
        self._root = cache / "apt"
        self._debs = cache / "debs"
        self._fresh = False

    def newest(self, machine: Machine) -> list[Package]:
        """What the release and its security updates have now."""
        return [self._package(name, None, machine) for name in PACKAGES]

    def fetch(self, packages: Iterable[Package], *, strictly: bool) -> Mapping[Package, Path]:
        """Download them. One that the mirror has no longer is replaced by its successor, unless ``strictly``."""
        found: dict[Package, Path] = {}
        for package in packages:
            path = self._debs / f"{package.name}_{package.sha256[:16]}_{package.machine}.deb"
            if not path.exists():
                package, path = self._download(package, strictly=strictly)  # noqa: PLW2901 - its successor
            found[package] = path
        return found

    def _download(self, package: Package, *, strictly: bool) -> tuple[Package, Path]:
        machine = MACHINES[package.machine]
        try:
            there = self._package(package.name, package.version, machine)
        except BuildError:
            if strictly:
                raise
            there = self._package(package.name, None, machine)
            say(
                f"{package.name} {package.version} is not to be had any more, {there.version} is taken:"
                " make bundle-lock brings the list up to date"
            )
        if there.version == package.version and there.sha256 != package.sha256:
            raise BuildError(f"{package.name} {package.version} is not the file that the list of packages has")
        self._debs.mkdir(parents=True, exist_ok=True)
        path = self._debs / f"{there.name}_{there.sha256[:16]}_{there.machine}.deb"
        scratch = self._debs / f"download-{os.getpid()}"
        scratch.mkdir(exist_ok=True)
        self._apt("apt-get", "-qq", "download", f"{there.name}:{machine.debian}={there.version}", cwd=scratch)
        (got,) = scratch.glob("*.deb")
        if hashlib.sha256(got.read_bytes()).hexdigest() != there.sha256:
            raise BuildError(f"{got.name} is not the file that apt announced")
        got.rename(path)
        scratch.rmdir()
        return there, path

    def _package(self, name: str, version: str | None, machine: Machine) -> Package:
        self._update()
        wanted = f"{name}:{machine.debian}" + (f"={version}" if version else "")
        records = self._apt("apt-cache", "show", "--no-all-versions", wanted)
        fields = dict(line.split(": ", 1) for line in records.splitlines() if ": " in line and line[0] != " ")
        if not {"Version", "SHA256"} <= fields.keys():
            raise BuildError(f"Debian {SUITE} has no {wanted}")
        return Package(name, fields["Version"], machine.name, fields["SHA256"])

    def _apt(self, command: str, *arguments: str, cwd: Path | None = None) -> str:
        return run([tool(command, "apt (a Debian machine)"), *arguments], cwd=cwd, env=self._environment())

    def _environment(self) -> dict[str, str]:
        return {"APT_CONFIG": str(self._root / "apt.conf"), "LC_ALL": "C.UTF-8"}

    def _update(self) -> None:
        if self._fresh:
            return
        main, security = mirrors()
        for folder in ("etc/apt.conf.d", "etc/preferences.d", "lists/partial", "cache/archives/partial"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        (self._root / "status").touch()
        sources = ((main, SUITE), (main, f"{SUITE}-updates"), (security, f"{SUITE}-security"))
        (self._root / "etc" / "sources.list").write_text(
            "".join(f"deb [signed-by={_KEYRING}] {mirror} {suite} main\n" for mirror, suite in sources)
        )
        options = {
            "Dir::Etc": "etc",
            "Dir::Etc::sourcelist": "etc/sources.list",
            "Dir::State": ".",
            "Dir::State::status": "status",
            "Dir::Cache": "cache",
        }
        lines = [f'{name} "{(self._root / path).resolve()}";' for name, path in options.items()]
        lines += ['Dir::Etc::sourceparts "-";', 'APT::Sandbox::User "root";', 'APT::Architecture "amd64";']
        lines += ['APT::Architectures "amd64,arm64";', 'Acquire::Languages "none";', 'Acquire::Retries "3";']
        (self._root / "apt.conf").write_text("\n".join(lines) + "\n")
        say(f"looking at the package lists of Debian {SUITE}")
        self._apt("apt-get", "-qq", "update")
        self._fresh = True


def mirrors() -> tuple[str, str]:
    """Return the mirrors of Debian and of its security updates: those of this machine, or as two variables say."""
    main, security = os.environ.get("DEBIAN_MIRROR"), os.environ.get("DEBIAN_SECURITY_MIRROR")
    if not main or not security:
        # Names in sources.list, which are there before the first apt-get update.
        form = "$(RELEASE)|$(COMPONENT)|$(REPO_URI)"
        targets = run(
            [tool("apt-get", "apt (a Debian machine)"), "indextargets", "--format", form, "Created-By: Packages"]
        )
        rows = [line.split("|") for line in targets.splitlines()]
        found = {release: uri.rstrip("/") for release, component, uri in reversed(rows) if component == "main"}
        for release in [*found]:
            if release.endswith("-security") and release.removesuffix("-security") in found:
                main, security = main or found[release.removesuffix("-security")], security or found[release]
    if not main or not security or not _KEYRING.exists():
        raise BuildError(
            "no Debian mirror is known here, or not its keys: run on a Debian machine after apt-get update,"
            " or set DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR and install debian-archive-keyring"
        )
    return main, security
