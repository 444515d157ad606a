"""What a run depends on besides its config: versions, code, hardware."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import seqtrain
from seqtrain.training.precision import MixedPrecision

_PACKAGES = ("torch", "hydra-core", "omegaconf", "numpy", "sentencepiece", "sacrebleu", "safetensors")


def describe_environment(device: torch.device, precision: MixedPrecision) -> dict[str, Any]:
    """What environment.json holds; on another line of it a resumed run may differ in the last bits."""
    return {
        "seqtrain": seqtrain.__version__,
        "git_commit": _git_commit(),
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in _PACKAGES},
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "num_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": str(precision.dtype).removeprefix("torch."),
    }


def exactness_notes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two environments, a line each: a run that goes on in the new one is not exact to the bit."""
    keys = ("packages", "machine", "cpu_capability", "num_threads", "device", "precision")
    return [f"{key}: {old.get(key)} -> {new[key]}" for key in keys if old.get(key) != new[key]]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git_commit() -> str | None:
    """The commit of the checkout that seqtrain runs from; None outside of one."""
    folder = Path(seqtrain.__file__).parent
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
