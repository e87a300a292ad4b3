"""The two extension modules and the program that the command is; everything else about the package stands in
pyproject.toml.

They keep to CPython's limited API of 3.11, so that one wheel fits every CPython from 3.11 on.

SUPERVISOR_SANITIZE=1 builds under ASAN and UBSAN. SUPERVISOR_ABI3=0 builds for the CPython at hand alone.
"""

import os
import sysconfig
from pathlib import Path

from setuptools import setup  # isort: skip  (must come before Cython's, whose Extension derives from the patched one)
from distutils.ccompiler import new_compiler  # setuptools' own, which has no other name for it
from distutils.command.build_scripts import build_scripts
from distutils.sysconfig import customize_compiler

from Cython.Distutils import Extension

SANITIZE = os.environ.get("SUPERVISOR_SANITIZE") == "1"

SANITIZER_FLAGS = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"] if SANITIZE else []
# A free-threaded CPython has no limited API (yet).
ABI3 = os.environ.get("SUPERVISOR_ABI3", "1") == "1" and not sysconfig.get_config_var("Py_GIL_DISABLED")
OPTIMISATION = ["-g", "-O1"] if SANITIZE else ["-O3"]
# Hidden: calls from one C file into another need no table then.
FLAGS = ["-std=c11", "-Wall", "-Wextra", "-pthread", "-fvisibility=hidden"]


def sources(*patterns: str) -> list[str]:
    return sorted(path.as_posix() for pattern in patterns for path in Path("src").glob(pattern))


def extension(name: str, depends: list[str]) -> Extension:
    return Extension(
        f"supervisor.{name}",
        [f"src/{name}.pyx", *sources(f"{name.removeprefix('_')}/*.c")],
        depends=depends,
        include_dirs=["src/framing", "src/spawn"],
        libraries=["dl"],  # part of libc since glibc 2.34
        extra_compile_args=[*OPTIMISATION, *FLAGS, *SANITIZER_FLAGS],
        extra_link_args=["-pthread", *SANITIZER_FLAGS],
        define_macros=[("Py_LIMITED_API", "0x030B0000")] if ABI3 else [],
        py_limited_api=ABI3,
        cython_directives={"language_level": 3},
        cython_c_in_temp=True,  # no generated C in the source tree
    )


class BuildScripts(build_scripts):
    """The command beside the script that it starts."""

    def run(self) -> None:
        super().run()
        compiler = new_compiler()
        customize_compiler(compiler)
        flags = [*OPTIMISATION, "-std=c11", "-Wall", "-Wextra", "-fPIE"]
        objects = compiler.compile(
            ["src/launcher/supervisor.c"], output_dir=f"{self.build_dir}-objects", extra_postargs=flags
        )
        compiler.link_executable(objects, "supervisor", output_dir=self.build_dir, extra_postargs=["-pie", "-Wl,-s"])


setup(
    cmdclass={"build_scripts": BuildScripts},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {},
    ext_modules=[
        extension("_framing", sources("framing/*.h", "framing/*.pxi")),
        extension("_spawn", sources("spawn/*.h")),
    ],
)
