"""Calls of compiled functions."""

from __future__ import annotations

import ctypes

from torch import Tensor

__all__ = ["call"]


def call(library: ctypes.CDLL, name: str, *arguments: object) -> None:
    """Call a function that returns nothing.

    Args:
        library: Where it is.
        name: What it is called.
        arguments: Contiguous tensors and structures, which it gets as pointers, None for no tensor, small integers.
    """
    getattr(library, name)(*map(_pass, arguments))


def _pass(argument: object) -> object:
    if isinstance(argument, Tensor):
        assert argument.is_contiguous(), "rows follow one another"
        return ctypes.c_void_p(argument.data_ptr())
    return ctypes.byref(argument) if isinstance(argument, ctypes.Structure) else argument
