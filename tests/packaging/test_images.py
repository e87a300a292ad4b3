"""The Dockerfiles, built and run: the carrier, and an image of each kind that copies from it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Names
from tests.packaging import images, table
from tests.packaging.conftest import made
from tests.packaging.in_root import run_in
from tests.packaging.job import do_main_job
from tests.packaging.roots import PROJECT, root, size_bytes
from tests.services.agent import Consul
from tests.services.processes import until
from tests.services.topics import Kafka

_PYTHON = (
    "import sys\nassert sys.argv[1] == '/var/model'\nfor line in sys.stdin:\n    print(line, end='', flush=True)\n"
)
_NODE = "require('readline').createInterface({ input: process.stdin }).on('line', (line) => console.log(line));\n"
# How pip reaches its index here, in an image that was made elsewhere.
_NETWORK = ("PIP_CERT", "PIP_INDEX_URL", "http_proxy", "https_proxy", "no_proxy")
_JAVA = """
import java.io.*;
import java.nio.charset.StandardCharsets;

public class Main {
    public static void main(String[] arguments) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        for (String line; (line = in.readLine()) != null; ) out.println(line);
    }
}
"""


@pytest.fixture(scope="module", autouse=True)
def carrier() -> Iterator[str]:
    """The carrier image, under the name that the examples copy from."""
    tag = "docker.io/library/supervisor:0.2.0"
    packed = made(f"supervisor-*-linux-{platform.machine()}.tar.gz", "bundle")
    assert packed.parent == PROJECT / "dist"
    with images.store():
        machine = f"--build-arg=MACHINE={platform.machine()}"
        images.build(PROJECT / "packaging" / "carrier.Dockerfile", PROJECT, tag, machine)
        yield tag


def _file(name: str, text: str) -> Callable[[Path], None]:
    def write(context: Path) -> None:
        (context / name).write_text(text)

    return write


def _program(base: str) -> Callable[[Path], None]:
    def copy(context: Path) -> None:
        shutil.copy(root(base) / "calculator", context)

    return copy


def _jar(context: Path) -> None:
    """Compile in the root that stands for the image, with ``context`` at its /opt."""
    (context / "Main.java").write_text(_JAVA)
    for command in (
        ("javac", "--release", "17", "-d", "/opt/classes", "/opt/Main.java"),
        ("jar", "--create", "--file", "/opt/base-application.jar", "--main-class", "Main", "-C", "/opt/classes", "."),
    ):
        done = run_in(root("debian-12-jdk"), context, *command, deadline_s=120)
        assert done.returncode == 0, done


# Dockerfile, the image that it is built upon and the root that stands for it, what is copied into it.
_EXAMPLES = {
    "scratch": ("", "", _program("empty")),
    "alpine": ("docker.io/library/alpine:3", "musl", _program("musl")),
    "python": ("docker.io/library/python:3.7", "debian-11", _file("io_main.py", _PYTHON)),
    "node": ("docker.io/library/node:20-slim", "debian-12-node", _file("main.js", _NODE)),
    "java": ("docker.io/library/eclipse-temurin:17-jre", "debian-12-jdk", _jar),
}
_IN_FULL = ("node", "java")
_BUILT: set[str] = set()


def _built(name: str, context: Path) -> str:
    """The image of that example's Dockerfile, built once."""
    tag = f"localhost/example-{name}"
    if tag not in _BUILT:
        base, stands, prepare = _EXAMPLES[name]
        prepare(context)
        if base:
            images.add_base(base, root(stands))
        images.build(images.EXAMPLES / f"{name}.Dockerfile", context, tag)
        _BUILT.add(tag)
    return tag


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if name in _IN_FULL else []) for name in _EXAMPLES]
)
def test_an_image_of_that_kind_does_the_main_job(
    name: str, tmp_path: Path, kafka: Kafka, consul: Consul, names: Names
) -> None:
    """By its own ENTRYPOINT and CMD; the container adds nothing but where Kafka and Consul are."""
    with images.container(_built(name, tmp_path)) as image:
        assert image.entrypoint == ["/opt/supervisor"]
        process = images.InImage(image, node_id=names.node_id, kafka=kafka, consul=consul, group=names.group)
        try:
            measured = do_main_job(process, kafka, consul, names)
        finally:
            process.close()
            print(process.log_text(40))
        table.add(
            "image",
            f"{name}.Dockerfile",
            "built by buildah, main job, crash, stop",
            size_bytes=size_bytes(image.root / "opt"),
            start_s=measured.start_s,
            pss_bytes=measured.pss_bytes,
        )


@pytest.mark.full
@pytest.mark.parametrize("dockerfile", ["Dockerfile", "packaging/examples/debian.Dockerfile"])
def test_an_image_with_the_wheel_starts(dockerfile: str, wheel: Path, tmp_path: Path, names: Names) -> None:
    """The pip way: out of the sources, and out of the wheel; pip finds the rest where this machine finds it."""
    images.add_base("docker.io/library/python:3.11-slim", root("debian-12-pip"))
    shutil.copy(wheel, tmp_path)
    (tmp_path / "io_main.py").write_text(_PYTHON)
    context = PROJECT if dockerfile == "Dockerfile" else tmp_path
    network = [f"--env={name}={value}" for name, value in os.environ.items() if name in _NETWORK]
    certificates = "--volume=/etc/ssl/certs:/etc/ssl/certs:ro"
    images.build(PROJECT / dockerfile, context, "localhost/example-pip", certificates, *network)
    with images.container("localhost/example-pip") as image:
        process = images.InImage(image, command=["--version"], node_id=names.node_id).start()
        assert process.wait() == 0
        assert process.events[0]["event"].startswith("supervisor ")
        process.close()
    table.add("wheel", f"{dockerfile.rpartition('/')[2]}, CPython 3.11 of Debian 12", "built by buildah, --version")


@pytest.mark.parametrize(
    ("name", "command", "status", "said"),
    [
        ("alpine", ["--version"], 0, "supervisor "),
        # PROGRAM stands in the image, --bin of its own stands in CMD: the one is found, the other has gone.
        ("alpine", ["check"], 0, "program = calculator, found as /usr/local/bin/calculator"),
        ("scratch", ["check"], 0, "program: no program is given"),
        ("scratch", ["check", "--", "/calculator", "x"], 0, "program = /calculator"),
        ("scratch", ["check", "--bin", "/none"], 127, "/none"),
    ],
)
def test_a_command_takes_the_place_of_cmd(  # noqa: PLR0917 - fixtures, by name
    name: str, command: list[str], status: int, said: str, tmp_path: Path, names: Names
) -> None:
    """``docker run IMAGE check``."""
    tag = _built(name, tmp_path)
    with images.container(tag) as image:
        process = images.InImage(image, command=command, node_id=names.node_id).start()
        try:
            assert process.wait() == status, process.log_text()
            assert said in "\n".join(event["event"] for event in process.events)
        finally:
            process.close()


def test_program_stands_in_the_image(tmp_path: Path, names: Names) -> None:
    """So that what takes the place of CMD starts the Calculator too; a command beside it asks how it is."""
    with images.container(_built("alpine", tmp_path)) as image:
        assert image.env["PROGRAM"] == "calculator"
        process = images.InImage(image, command=["--args", "x"], node_id=names.node_id).start()
        try:
            process.wait_log("calculator running")
            until(lambda: process.http("/health/live")[0] == 200, "it answers")
            asked = run_in(
                image.root, image.root / "opt", "/opt/supervisor", "status", env={"HTTP_PORT": str(process.port)}
            )
            assert (asked.returncode, names.node_id in asked.stdout) == (0, True), asked
            assert process.terminate() == 0
        finally:
            process.close()
