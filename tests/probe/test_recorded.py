"""Trees of /proc recorded from running programs: JVM, Go, Node, Python with its libraries, shells, pipelines."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

import pytest

from tests.probe.tree import Tree

TREES = sorted(Path(__file__).with_name("trees").glob("*.json"))
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="recorded on x86-64")


@pytest.mark.parametrize("path", TREES, ids=lambda path: path.stem)
def test_a_recorded_tree_means_what_its_program_did(path: Path, library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = Tree.load(path)
    probe = tree.probe(library, tmp_path)
    seen = [[verdict.name, probe.note.name] for verdict in (probe.look() for _ in range(3))]
    probe.close()
    elsewhere = [["ELSEWHERE", "SEVERAL"]] if ["WORK", "NONE"] in tree.allowed else []  # a kind of work
    assert seen[-1] in tree.allowed + elsewhere, f"{tree.about}: {seen}"


def test_there_are_trees_of_each_state() -> None:
    assert len(TREES) >= 80
    states = [path.stem.rpartition(".")[2] for path in TREES]
    assert states.count("idle") == states.count("at-work")
