"""Images built by buildah, without an engine, out of the Dockerfiles as they stand, and run as a runtime would.

Base images come from no registry: roots made here stand under the names that the Dockerfiles want.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.packaging.in_root import InRoot
from tests.packaging.roots import CACHE, PROJECT, run, tool

_STORE = CACHE / "images"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def buildah(*arguments: str | Path, deadline_s: float = 300) -> str:
    """Run buildah on a store of our own."""
    places = ["--root", str(_STORE / "root"), "--runroot", str(_STORE / "run"), "--storage-driver", "vfs"]
    return run([tool("buildah"), *places, *map(str, arguments)], deadline_s=deadline_s).strip()


@contextlib.contextmanager
def store() -> Iterator[None]:
    """Have the store for this test run alone, empty at first and at the end."""
    _STORE.parent.mkdir(parents=True, exist_ok=True)
    with _STORE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _forget()
        yield
        _forget()


def _forget() -> None:
    if _STORE.exists():
        buildah("rm", "--all")
        buildah("rmi", "--all", "--force")
        shutil.rmtree(_STORE)


def add_base(name: str, root: Path) -> None:
    """Let a root stand as an image of that name."""
    container = buildah("from", "scratch")
    buildah("copy", container, root, "/")
    buildah("config", "--env", _PATH, container)
    buildah("commit", "--rm", container, name)


def build(dockerfile: Path, context: Path, tag: str, *options: str) -> None:
    """Build a Dockerfile, with nothing pulled from anywhere."""
    buildah("bud", "--isolation", "chroot", "--pull-never", *options, "--file", dockerfile, "--tag", tag, context)


class Image(NamedTuple):
    """What a runtime takes from an image; ``root`` may be written to, as a container's may."""

    root: Path
    entrypoint: list[str]
    command: list[str]
    env: dict[str, str]
    folder: str


@contextlib.contextmanager
def container(tag: str) -> Iterator[Image]:
    """A container of the image, mounted, not running."""
    name = buildah("from", "--pull-never", tag)
    try:
        root = Path(buildah("mount", name))
        for folder in ("dev", "proc"):  # a runtime makes them
            (root / folder).mkdir(exist_ok=True)
        config: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", tag))["OCIv1"]["config"]
        env = dict(pair.split("=", 1) for pair in config.get("Env", []))
        yield Image(root, config.get("Entrypoint", []), config.get("Cmd", []), env, config.get("WorkingDir") or "/")
    finally:
        buildah("rm", name)


class InImage(InRoot):
    """The image's own ENTRYPOINT and CMD, or ``command`` in CMD's place, as PID 1."""

    def __init__(self, image: Image, *, command: list[str] | None = None, **more: Any) -> None:
        env = image.env | more.pop("env", {})
        options = f"workdir={image.folder}"
        opt = image.root / "opt"
        super().__init__(("unused",), root=image.root, opt=opt, options=options, env=env, launcher=(), **more)
        unused = self._command.index("--bin")
        self._command[unused:] = image.entrypoint + (image.command if command is None else command)


EXAMPLES = PROJECT / "packaging" / "examples"
