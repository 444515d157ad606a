"""From the C++ of this folder to functions that Python calls.

The sources need nothing but the language: not torch's headers, with which a compiler takes a minute. They get pointers,
which Python takes from contiguous tensors.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from seqtrain.errors import SeqtrainError

__all__ = ["CompilerError", "build", "find_compiler"]

_FOLDER = Path(__file__).parent
# Not -ffast-math: it forgets what is no number, and changes how torch rounds.
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-fno-math-errno", "-fno-trapping-math")
_COMPILERS = ("c++", "g++", "clang++")
_REMEDY = "install a C++ compiler, or name another one in the environment's CXX"
_RUNTIMES = ("libgomp", "libiomp5", "libomp")  # those of OpenMP that torch comes with


class CompilerError(SeqtrainError):
    """There is no C++ compiler, or it fails."""


def find_compiler() -> str | None:
    """The C++ compiler: what the environment's CXX names, or else the first that is found."""
    names = (own,) if (own := os.environ.get("CXX")) else _COMPILERS
    return next((path for name in names if (path := shutil.which(name))), None)


@functools.cache
def build(source: str, *flags: str) -> ctypes.CDLL:
    """Compile a source of this folder, once in a process: it takes some seconds.

    What the source lets run in parallel does so in the threads of torch, where its OpenMP can be found; else in one.

    Args:
        source: The name of the file.
        flags: What the compiler is told besides.

    Raises:
        CompilerError: There is no compiler, it fails, or what it makes cannot be loaded.
    """
    compiler = find_compiler()
    if compiler is None:
        names = os.environ.get("CXX") or " or ".join(_COMPILERS)
        raise CompilerError(f"there is no C++ compiler ({names}), which the kernels need", remedy=_REMEDY)
    runtime = _find_openmp()
    with tempfile.TemporaryDirectory() as folder:
        compiled, library = Path(folder) / "kernels.o", Path(folder) / "kernels.so"
        openmp = [] if runtime is None else ["-fopenmp"]
        _run([compiler, *_FLAGS, *flags, *openmp, "-c", str(_FOLDER / source), "-o", str(compiled)])
        # Linked without OpenMP, whose functions are those that torch has loaded: a second runtime would have threads
        # of its own, and the two would fight for the cores.
        _run([compiler, "-shared", str(compiled), "-o", str(library)])
        return _load(library, runtime)  # stays loaded when its file is gone


def _load(library: Path, runtime: str | None) -> ctypes.CDLL:
    try:
        if runtime is not None:
            ctypes.CDLL(runtime, mode=ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(str(library))
    except OSError as error:  # such as a temporary folder from which nothing may be run
        remedy = "set the environment's TMPDIR to a folder from which programs may run"
        raise CompilerError(f"the compiled kernels cannot be loaded: {error}", remedy=remedy) from error


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CompilerError(f"{' '.join(command)} failed:\n{done.stderr or done.stdout}", remedy=_REMEDY)


def _find_openmp() -> str | None:
    """The file of the OpenMP runtime that this process has loaded with torch; None where that is not known."""
    if not sys.platform.startswith("linux"):
        return None
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
    return next((path for path in sorted(paths) if Path(path).name.startswith(_RUNTIMES)), None)
