"""Where the configs and the user plug-ins of this installation are."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def checkout() -> Path | None:
    """The checkout that the package runs from; None where it is installed, and brings its configs along."""
    return None if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent


def conf_folder() -> Path:
    """The folder of the configs: the package's own in a wheel, beside the package in a checkout."""
    root = checkout()
    return _PACKAGE / "conf" if root is None else root / "conf"
