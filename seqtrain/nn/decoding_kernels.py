"""Kernels of a decoding step that are compiled for the CPU at hand, for which they need its C++ compiler.

Shapes: N rows of the decoder, B sentences, H heads, d features of a head, D = H * d, C slots of a sentence, R rows of
logits, V entries of the vocabulary.

They do in one pass over little memory what takes torch many operators, each with its own pass: decoding has few rows
and many steps. A compiler of the machine knows its vector instructions, so that the source is plain loops.
"""

from __future__ import annotations

import ctypes
import functools

import torch
from torch import Tensor

from seqtrain.errors import ConfigError
from seqtrain.nn.native.build import CompilerError, build

__all__ = ["Attention", "DecodingKernels", "decoding_kernels"]

_FLAGS = ("-fno-signed-zeros", "-fassociative-math", "-ffinite-math-only")  # sums in any order, and no NaN, for vectors
_TENSOR, _SIZES, _NUMBER = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64
_SUFFIXES = {torch.float32: "float", torch.bfloat16: "bfloat16"}
_SIGNATURES = {
    "log_normalizers": [_TENSOR, _NUMBER, _NUMBER, _TENSOR, _TENSOR],
    "top_k": [_TENSOR, _NUMBER, _NUMBER, _NUMBER, _TENSOR, _TENSOR],
    **{f"keep_{kind}": [_SIZES, _TENSOR, _TENSOR, _TENSOR, _NUMBER] for kind in _SUFFIXES.values()},
    **{f"attend_{one}_{two}": [_SIZES, *[_TENSOR] * 6] for one in _SUFFIXES.values() for two in _SUFFIXES.values()},
}


@functools.cache
def decoding_kernels() -> DecodingKernels:
    """The kernels, compiled once in a process, which takes a second or two.

    Raises:
        ConfigError: There is no compiler, or it fails.
    """
    try:
        return DecodingKernels(build("decoding.cpp", *_FLAGS))
    except CompilerError as error:
        remedy = f"{error.remedy}, or leave generation.compile at false"
        raise ConfigError(f"generation.compile=true: {error.args[0]}", remedy=remedy) from error


class Attention(ctypes.Structure):
    """The sizes of an attention; see `native/decoding.cpp`."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "num_rows",
            "rows_of_sentence",
            "num_heads",
            "dim",
            "query_stride",
            "slots_of_sentence",
            "num_read",
        )
    ]


class DecodingKernels:
    """The kernels as functions of tensors on the CPU; rows are float32 or bfloat16, sums float32."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._functions = {name: getattr(library, name) for name in _SIGNATURES}
        for name, function in self._functions.items():
            function.argtypes, function.restype = _SIGNATURES[name], None

    def log_normalizers(self, scores: Tensor) -> Tensor:
        """The logarithms of the sums of exp(scores): (R, V) -> (R, 1)."""
        scores = scores.contiguous()
        greatest, sums = torch.empty(2, len(scores), 1)
        self._call("log_normalizers", scores, *scores.shape, greatest, sums)
        normalizers: Tensor = sums.log_().add_(greatest)
        return normalizers

    def top_k(self, values: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """See `seqtrain.generation.top_k`: (..., V) -> (..., k) twice."""
        values = values.contiguous()
        found = values.new_empty(*values.shape[:-1], k)
        indices = torch.empty(found.shape, dtype=torch.long)
        num_columns = values.shape[-1]
        self._call("top_k", values, values.numel() // num_columns, num_columns, k, found, indices)
        return found, indices

    def keep(self, sizes: Attention, rows: Tensor, slots: Tensor, places: Tensor, first: int) -> None:
        """Write the keys and values of rows (N, 3 D) into slots.

        Args:
            sizes: Of the attention.
            rows: Queries, keys and values.
            slots: (B', C, 2, D), in the format of the rows.
            places: (B,) int64, where in `slots` each sentence is.
            first: The slot of a sentence's first row.
        """
        self._call(f"keep_{_SUFFIXES[rows.dtype]}", ctypes.byref(sizes), rows, slots, places, first)

    def attend(self, sizes: Attention, queries: Tensor, slots: Tensor, places: Tensor, *, read: Tensor) -> Tensor:
        """softmax(q k') v: (N, D), the first features of rows that may be longer -> (N, D).

        Args:
            sizes: Of the attention.
            queries: Scaled.
            slots: (B', C, 2, D), keys and values, in a format of their own.
            places: (B,) int64, where in `slots` each sentence is.
            read: (N, num_read) int32, the slots that each row reads; or, with num_read = 0, (B',) int64, how many it
                reads from the first on.
        """
        out = queries.new_empty(sizes.num_rows, sizes.num_heads * sizes.dim)
        chosen, counts = (read, None) if sizes.num_read > 0 else (None, read)
        name = f"attend_{_SUFFIXES[queries.dtype]}_{_SUFFIXES[slots.dtype]}"
        self._call(name, ctypes.byref(sizes), queries, slots, places, chosen, counts, out)
        return out

    def _call(self, name: str, *arguments: object) -> None:
        self._functions[name](*[one.data_ptr() if isinstance(one, Tensor) else one for one in arguments])
