"""A real checkpoint and a real data-bin folder, for the tests that damage them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from seqtrain.assemble import build_task
from seqtrain.data.tokenizers import TokenizerKind
from seqtrain.tasks.preprocess import preprocess
from seqtrain.tasks.translation import TranslationConfig
from tests.faults import corpus
from tests.faults.runs import unbroken
from tests.system.runs import start


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The cache that tests have, for what is made once for all of them too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="session")
def made_data_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data-bin folder that seqtrain wrote; not to be touched."""
    folder = tmp_path_factory.mktemp("made")
    text = corpus.write_text(folder / "text", num_lines=200)
    config = TranslationConfig(
        data=str(text), source_lang="en", target_lang="de", tokenizer=TokenizerKind.sentencepiece, vocab_size=60
    )
    preprocess(build_task(config), folder / "data-bin", 1)
    return folder / "data-bin"


@pytest.fixture(scope="session")
def made_run(made_data_bin: Path) -> Path:
    """The folder of a run of two updates on that data; not to be touched."""
    folder = made_data_bin.parent
    arguments = (f"task.data={made_data_bin}", "task=translation", *corpus.TINY)
    result = start("train", *arguments, "checkpoint.save_interval_updates=1", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"


@pytest.fixture
def data_bin(made_data_bin: Path, tmp_path: Path) -> Path:
    """A copy of the data-bin folder, to be damaged."""
    return Path(shutil.copytree(made_data_bin, tmp_path / "data-bin"))


@pytest.fixture
def run(made_run: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(made_run, tmp_path / "run", symlinks=True))


@pytest.fixture
def checkpoint(run: Path) -> Path:
    """A checkpoint of the copied run."""
    return (run / "checkpoints" / "last").resolve()


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The run that nothing interrupts, of a number of threads."""
    return cache(lambda threads: unbroken(tmp_path_factory.mktemp("whole"), num_threads=threads))
