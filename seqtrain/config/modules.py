"""The modules of user folders: each folder is a package below this module, named by its path.

So two folders of the same name are two packages, nothing is added to `sys.path`, relative imports inside a folder work,
and a child process that unpickles a config finds the plug-in's schema with no more than its name. The package of
/home/me/my.plugins is `seqtrain.config.modules./home/me/my%2Eplugins`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from seqtrain.errors import PluginError

__path__: list[str] = []  # makes this module a package, whose submodules the finder below serves


class _FolderFinder(MetaPathFinder):
    """Finds the package of a folder; what is inside it, Python's own finder finds."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parent, _, encoded = fullname.rpartition(".")
        if parent != __name__:
            return None
        folder = _decode(encoded)
        if not folder.is_dir():
            return None
        init = folder / "__init__.py"
        if init.is_file():
            return importlib.util.spec_from_file_location(fullname, init, submodule_search_locations=[str(folder)])
        spec = ModuleSpec(fullname, loader=None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        return spec


def package_of(folder: Path) -> str:
    """The name of a folder's package.

    Args:
        folder: Absolute.
    """
    return f"{__name__}.{str(folder).replace('%', '%25').replace('.', '%2E')}"


def folder_of(module: str) -> Path | None:
    """The user folder that a module belongs to, or None."""
    if not module.startswith(f"{__name__}."):
        return None
    return _decode(module.removeprefix(f"{__name__}.").partition(".")[0])


def module_name(file: Path, folder: Path, package: str) -> str:
    """The name of the module that a file in a folder is, if the folder is the package ("" for none)."""
    parts = list(file.relative_to(folder).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(filter(None, [package, *parts]))


def import_file(file: Path, name: str, folder: Path) -> None:
    """Import a plug-in file.

    Raises:
        PluginError: The file raised; the message has the place and the exception.
    """
    try:
        importlib.import_module(name)
    except PluginError:
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"the plug-in file {_place(error, file, folder)} cannot be imported: {type(error).__name__}: {error}",
            remedy="mend the file, or take it out of the folder",
        ) from error


def _place(error: BaseException, file: Path, folder: Path) -> str:
    """The innermost line inside the folder that an exception went through."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(file)


def _decode(encoded: str) -> Path:
    return Path(encoded.replace("%2E", ".").replace("%25", "%"))


if not any(isinstance(finder, _FolderFinder) for finder in sys.meta_path):
    sys.meta_path.append(_FolderFinder())
