"""Trying plug-in files: which of them raise when they are imported.

They are imported in another process, so that a listing of plug-ins neither runs a user's code nor waits for torch: the
outcome is remembered until a file changes.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from seqtrain.config.folders import PluginFolder
from seqtrain.config.registry import load_builtins, registry
from seqtrain.errors import PluginError
from seqtrain.files import write_text_atomically


def errors_of(folders: Iterable[PluginFolder]) -> list[str]:
    """What is wrong with each plug-in file that cannot be used; files that have changed are tried first."""
    errors: list[str] = []
    remembered = _remembered()
    for folder in folders:
        parsed = [file for file, contents in folder.contents.items() if contents.error is None]
        files = [file for file in parsed if folder.contents[file].declarations or folder.contents[file].is_dynamic]
        untried = [file for file in files if _version(file) not in remembered]
        if untried:
            older = {version for version in remembered if any(version.startswith(f"{file} ") for file in untried)}
            remembered = {version: remembered[version] for version in remembered.keys() - older}
            remembered |= _try_in_another_process(folder, untried)
            _remember(remembered)
        outcomes = [contents.error and f"the plug-in file {contents.error}" for contents in folder.contents.values()]
        outcomes += [remembered.get(_version(file)) for file in files]
        errors += [error for error in outcomes if error]
    return errors


def _try_in_another_process(folder: PluginFolder, files: Sequence[Path]) -> dict[str, str | None]:
    words = [str(folder.path), folder.package, *map(str, files)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-m", __name__, *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PluginError(f"the plug-in files of {folder.path} cannot be tried: {done.stderr.strip()}")
    outcomes: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    return outcomes


def _try(folder: PluginFolder, files: Iterable[Path]) -> dict[str, str | None]:
    """Import files; what each of them raises, or None."""
    load_builtins()
    outcomes: dict[str, str | None] = {}
    for file in files:
        version = _version(file)
        try:
            folder.import_file(file)
            outcomes[version] = None
        except PluginError as error:
            outcomes[version] = str(error.args[0])
        registry.remove(f"{file}:")  # a folder may hold a copy of another one, under the same names
    return outcomes


def _version(file: Path) -> str:
    status = file.stat()
    return f"{file} {status.st_mtime_ns} {status.st_size}"


def _store() -> Path:
    if folder := os.environ.get("SEQTRAIN_CACHE"):
        return Path(folder).expanduser() / "plugin_files.json"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "seqtrain" / "plugin_files.json"


def _remembered() -> dict[str, str | None]:
    try:
        outcomes: dict[str, str | None] = json.loads(_store().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return outcomes


def _remember(outcomes: dict[str, str | None]) -> None:
    with contextlib.suppress(OSError):  # a home that cannot be written to costs time, and nothing else
        _store().parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(_store(), json.dumps(outcomes))


def main() -> None:
    """In the other process: FOLDER PACKAGE FILE ... -> one line of JSON, after whatever the files print."""
    path, package, *files = sys.argv[1:]
    outcomes = _try(PluginFolder(Path(path), "the command line", package), map(Path, files))
    print(f"\n{json.dumps(outcomes)}")


if __name__ == "__main__":
    main()
