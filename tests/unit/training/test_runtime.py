from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from seqtrain.training.runtime import prepare_process, speed_up_float32

COUNT_FAULTS = """
import resource, torch
from seqtrain.training.runtime import prepare_process

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.empty(2**24, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

default = faults()
prepare_process(1, deterministic=False)
faults()
print(default, faults())
"""


@pytest.fixture(autouse=True)
def restored_settings() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(num_threads)
    torch.use_deterministic_algorithms(mode=False)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt belongs to glibc")
def test_memory_of_freed_tensors_is_used_again() -> None:
    """A new process: the allocator's settings cannot be taken back."""
    output = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True).stdout
    default, prepared = map(int, output.split())
    if default < 1000:
        pytest.skip("the system gives out huge pages: there are few faults to save")
    assert prepared < default / 10


def test_the_number_of_threads_is_set() -> None:
    prepare_process(2, deterministic=False)
    assert torch.get_num_threads() == 2


def test_without_a_number_the_threads_stay_as_the_environment_says() -> None:
    torch.set_num_threads(1)
    prepare_process(None, deterministic=False)
    assert torch.get_num_threads() == 1


def test_deterministic_algorithms_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    prepare_process(1, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("device", "dtype", "deterministic", "expected"),
    [
        ("cuda", torch.bfloat16, False, "high"),
        ("cuda", torch.bfloat16, True, "highest"),
        ("cuda", torch.float32, False, "highest"),
        ("cpu", torch.bfloat16, False, "highest"),
    ],
)
def test_float32_products_are_rounded_on_a_gpu_in_short_formats_alone(
    device: str, dtype: torch.dtype, deterministic: bool, expected: str
) -> None:
    try:
        speed_up_float32(torch.device(device), dtype, deterministic=deterministic)
        assert torch.get_float32_matmul_precision() == expected
    finally:
        torch.set_float32_matmul_precision("highest")
