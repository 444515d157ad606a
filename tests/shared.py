"""Where the material is that does not belong to the checkout: corpora and golden values, in `shared/` beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


def shared(path: str) -> Path:
    """A file or folder of `shared/`; the test that asks is skipped where it is absent.

    Args:
        path: Relative to `shared/`: "golden/fairseq/data".
    """
    found = CHECKOUT.parent / "shared" / path
    if not found.exists():
        pytest.skip(f"needs {path} in the folder shared/ beside the checkout", allow_module_level=True)
    return found
