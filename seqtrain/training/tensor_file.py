"""Writing safetensors files tensor by tensor, with the checksum on the way.

The library copies all tensors before it writes them, and the file had to be read again for its checksum. Here each
tensor's own memory is hashed and written, both without Python's lock, so that a training step in another thread goes
on. The bytes are those that the library writes: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_NAMES = {
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What the format calls the number formats. In this order a file has them, so that every tensor lies aligned."""
_RANKS = {dtype: rank for rank, dtype in enumerate(_NAMES)}
_ALIGNMENT = 8  # of the header's end, in bytes


def write_tensors(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> str:
    """Write tensors by name, and wait until they are on the disk.

    Args:
        path: The file.
        tensors: On any device, of any shape; two of them must not share memory for the file to be read as it was.
        metadata: What else the header says.

    Returns:
        The SHA-256 of the file, in hexadecimal.

    Raises:
        OSError: The file could not be written whole.
    """
    ordered = sorted(tensors.items(), key=lambda item: (_RANKS[item[1].dtype], item[0]))
    digest = hashlib.sha256()
    with path.open("wb") as file:
        header = _header(ordered, metadata)
        digest.update(header)
        file.write(header)
        for _, tensor in ordered:
            data = _memory(tensor)
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _header(ordered: list[tuple[str, Tensor]], metadata: Mapping[str, str] | None) -> bytes:
    """Its own length, then JSON: each tensor's number format, shape, and place in what follows."""
    entries: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    start = 0
    for name, tensor in ordered:
        end = start + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _memory(tensor: Tensor) -> memoryview:
    """The bytes of a tensor; those of one on the CPU are not copied."""
    data: memoryview = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    return data
