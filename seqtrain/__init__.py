"""seqtrain: train sequence models from Hydra configs, with plug-ins of five kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqtrain.assemble import load as load

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `seqtrain.load` on first use, so that `import seqtrain` does not import torch."""
    if name == "load":
        from seqtrain.assemble import load

        return load
    raise AttributeError(f"module 'seqtrain' has no attribute {name!r}")
