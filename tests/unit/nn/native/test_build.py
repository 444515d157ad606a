"""Sources become functions, or one clear error."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from seqtrain.nn.native import build as module
from seqtrain.nn.native.build import CompilerError, build, find_compiler


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> Iterator[None]:
    build.cache_clear()
    yield
    build.cache_clear()


def make_program(folder: Path, name: str, line: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{line}\n")
    program.chmod(0o755)
    return program


def test_the_environment_names_the_compiler_before_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert find_compiler() is None
    clang = make_program(tmp_path, "clang++", "")
    assert find_compiler() == str(clang)
    own = make_program(tmp_path, "own", "")
    monkeypatch.setenv("CXX", "own")
    assert find_compiler() == str(own)
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert find_compiler() is None


def test_a_compiler_that_fails_is_quoted_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = make_program(tmp_path, "compiler", "echo unknown processor >&2; exit 1")
    monkeypatch.setenv("CXX", str(program))
    with pytest.raises(CompilerError, match=rf"{program} .*training.cpp .* failed:\nunknown processor"):
        build("training.cpp")


def test_what_cannot_be_loaded_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = make_program(tmp_path, "compiler", "exit 0")  # writes nothing
    monkeypatch.setenv("CXX", str(program))
    with pytest.raises(CompilerError, match="the compiled kernels cannot be loaded: ") as raised:
        build("training.cpp")
    assert "TMPDIR" in str(raised.value.remedy)


@pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch's OpenMP is looked for on Linux alone")
def test_kernels_run_in_the_threads_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
        #include <cstdint>
        extern "C" void count(int64_t* threads) {
        #pragma omp parallel
        #pragma omp atomic
            ++*threads;
        }
    """
    (tmp_path / "count.cpp").write_text(source)
    monkeypatch.setattr(module, "_FOLDER", tmp_path)
    library = build("count.cpp")
    before = torch.get_num_threads()
    try:
        for num_threads in (1, 3):
            torch.set_num_threads(num_threads)
            found = ctypes.c_int64(0)
            library.count(ctypes.byref(found))
            assert found.value == num_threads
    finally:
        torch.set_num_threads(before)
