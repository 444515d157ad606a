"""Compiled kernels compute what torch's operators compute."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from seqtrain.errors import ConfigError
from seqtrain.nn.decoding_kernels import Attention, DecodingKernels, decoding_kernels
from seqtrain.nn.native.build import build, find_compiler

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")


@pytest.fixture
def kernels() -> DecodingKernels:
    return decoding_kernels()


@needs_compiler
@pytest.mark.parametrize("num_columns", [1, 63, 1000])
def test_normalizers_are_logarithms_of_sums_of_exponentials(kernels: DecodingKernels, num_columns: int) -> None:
    torch.manual_seed(1)
    scores = 30 * torch.randn(7, num_columns) + 100
    scores[2] = torch.arange(num_columns) * -300.0
    assert_close(kernels.log_normalizers(scores), scores.logsumexp(dim=1, keepdim=True))


@needs_compiler
def test_what_is_impossible_adds_nothing(kernels: DecodingKernels) -> None:
    scores = torch.tensor([[math.log(2), math.log(3), -math.inf]])
    assert_close(kernels.log_normalizers(scores), torch.tensor([[math.log(5)]]))


@needs_compiler
@pytest.mark.parametrize(("num_columns", "k"), [(6, 6), (64, 1), (200, 6), (5000, 6), (5000, 200)])
def test_the_greatest_are_found(kernels: DecodingKernels, num_columns: int, k: int) -> None:
    torch.manual_seed(1)
    values = torch.randn(2, 3, num_columns)
    found, indices = kernels.top_k(values, k)
    assert torch.equal(found, values.topk(k).values)
    assert torch.equal(values.gather(2, indices), found)


@needs_compiler
def test_where_few_are_possible_the_others_follow(kernels: DecodingKernels) -> None:
    values = torch.full((1, 1000), -math.inf)
    values[0, 700] = -5.0
    found, indices = kernels.top_k(values, 3)
    assert found.tolist() == [[-5, -math.inf, -math.inf]]
    assert indices[0, 0] == 700
    assert len(set(indices[0].tolist())) == 3


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("slot_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dim", [6, 32, 64])
def test_rows_attend_to_the_slots_that_they_name(
    kernels: DecodingKernels, dtype: torch.dtype, slot_dtype: torch.dtype, dim: int
) -> None:
    torch.manual_seed(1)
    num_sentences, num_rows, num_heads, num_slots, num_read = 2, 3, 2, 9, 4
    width = num_heads * dim
    slots, places = torch.randn(4, num_slots, 2, width).to(slot_dtype), torch.tensor([3, 1])
    rows = torch.randn(num_sentences * num_rows, 3 * width).to(dtype)
    read = torch.randint(num_slots, (len(rows), num_read), dtype=torch.int32)
    sizes = Attention(len(rows), num_rows, num_heads, dim, 3 * width, num_slots, num_read)
    found = kernels.attend(sizes, rows, slots, places, read=read)
    own = slots.float()[places.repeat_interleave(num_rows)[:, None], read.long()].unflatten(3, (num_heads, dim))
    weights = torch.einsum("nhd,nthd->nht", rows[:, :width].float().view(-1, num_heads, dim), own[:, :, 0])
    expected = torch.einsum("nht,nthd->nhd", weights.softmax(dim=2), own[:, :, 1]).flatten(1)
    assert_close(found, expected.to(dtype))


@needs_compiler
def test_without_such_names_they_attend_to_the_first_slots(kernels: DecodingKernels) -> None:
    slots = torch.zeros(2, 5, 2, 4)
    slots[1, :, 1] = torch.tensor([1.0, 3.0, 8.0, 9.0, 9.0])[:, None]  # values; all keys are alike
    sizes = Attention(2, 2, 1, 4, 4, 5, 0)
    found = kernels.attend(sizes, torch.ones(2, 4), slots, torch.tensor([1]), read=torch.tensor([0, 3]))
    assert_close(found, torch.full((2, 4), 4.0))


def test_a_machine_without_compiler_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    decoding_kernels.cache_clear()
    build.cache_clear()
    with pytest.raises(ConfigError, match="there is no C\\+\\+ compiler"):
        decoding_kernels()


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text("#!/bin/sh\necho unknown processor >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    decoding_kernels.cache_clear()
    build.cache_clear()
    with pytest.raises(ConfigError, match="unknown processor"):
        decoding_kernels()
