"""The virtual environments of the peers: made on first use, one for each, from the files of `benchmarks/requirements/`.

    python -m benchmarks.harness.environments joeynmt eole    # make them, and print their interpreters

The first line of a file is the build of torch, which is installed by itself before the rest, so that nothing that comes
after can choose another. An environment is made anew when its file has changed since.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1]
REQUIREMENTS = BENCHMARKS / "requirements"
ENVIRONMENTS = BENCHMARKS / ".environments"


def peers() -> list[str]:
    """The names of all environments there are to make."""
    return sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))


def python(name: str) -> Path:
    """The interpreter of a peer's environment, which is made first if it is missing or out of date (minutes).

    Raises:
        subprocess.CalledProcessError: An installation failed; its messages are on the standard error stream.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    if not requirements.is_file():
        raise SystemExit(f"There is no environment {name}: benchmarks/requirements/ has {', '.join(peers())}.")
    ENVIRONMENTS.mkdir(exist_ok=True)
    folder = ENVIRONMENTS / name
    installed = folder / "installed.txt"
    with (ENVIRONMENTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two benchmarks may want the same peer at once
        if not installed.is_file() or installed.read_text() != requirements.read_text():
            _make(folder, requirements)
            shutil.copyfile(requirements, installed)
    return folder / "bin" / "python"


def _make(folder: Path, requirements: Path) -> None:
    torch_build = requirements.read_text().split()[0]
    interpreter = folder / "bin" / "python"
    for arguments in (
        [sys.executable, "-m", "venv", "--clear", folder],
        [interpreter, "-m", "pip", "install", "--quiet", torch_build],
        [interpreter, "-m", "pip", "install", "--quiet", "--requirement", requirements],
    ):
        subprocess.run(list(map(str, arguments)), check=True, stdout=sys.stderr)


def main() -> None:
    """Make the environments that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=peers(), help=f"of {', '.join(peers())}; all if none is named")
    for name in parser.parse_args().names:
        print(python(name))


if __name__ == "__main__":
    main()
