"""What figures depend on: the machine, the versions, the commit and the command."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch

CHECKOUT = Path(__file__).resolve().parents[2]

Facts = dict[str, object]


def machine() -> Facts:
    """The facts of this machine and of this moment."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "command": _command(),
        "commit": commit(),
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "amx": _has_amx(lines),
        "governor": _governor(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "environment": {
            name: value for name, value in os.environ.items() if name.startswith(("OMP_", "GOMP_", "KMP_"))
        },
        **_accelerator(),
    }


def machine_name(facts: Mapping[str, object]) -> str:
    """What a machine is called in tables, by its facts: its processor, whether that has AMX, and its GPU if any."""
    name = re.sub(r"\((R|TM)\)|\b(CPU|Processor)\b|@.*", " ", str(facts.get("cpu", "unknown")))
    processor = " ".join([*name.split(), *(["AMX"] if facts.get("amx") else [])])
    return f"{processor}, {facts['gpu']}" if "gpu" in facts else processor


def commit() -> str:
    """The checkout's commit, with a mark if files differ from it; "unknown" outside of a git repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def _command() -> str:
    """What was called; of paths of this machine the last name."""
    words = [sys.executable, *sys.orig_argv[1:]]
    return " ".join(Path(word).name if word.startswith("/") else word for word in words)


def _has_amx(lines: list[str]) -> bool:
    return any(line.startswith("flags") and " amx_tile" in line for line in lines)


def _governor() -> str:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text().strip() if path.is_file() else "unknown"


def _accelerator() -> Facts:
    if not torch.cuda.is_available():
        return {}
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "gpu_gibibytes": round(properties.total_memory / 2**30),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
