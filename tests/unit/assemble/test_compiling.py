"""Which runs compile, and what those are told that ask for it and cannot have it."""

from __future__ import annotations

import re
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

from seqtrain.assemble import compiling
from seqtrain.assemble.compiling import settle_compilation
from seqtrain.assemble.components import Runtime
from seqtrain.config.root import (
    BatchForm,
    DistributedConfig,
    Strategy,
    Switch,
    TrainBatchingConfig,
    TrainConfig,
    TrainingConfig,
)
from seqtrain.errors import ConfigError
from seqtrain.nn.native.build import build, find_compiler
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.step import TrainableModule
from tests.unit.training.traced import make_module

pytestmark = pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch imports its own
TASK = TinyTask(num_letters=20)
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that could compile for one, as far as one can see; nothing is compiled here."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(compiling, "find_spec", lambda name: ModuleSpec(name, None))
    monkeypatch.setenv("CC", sys.executable)


def settle(
    wish: str, *, form: str = "padded", strategy: str = "ddp", world_size: int = 1, device: torch.device = CPU
) -> TrainableModule:
    config = TrainConfig(
        batching=TrainBatchingConfig(form=BatchForm(form)),
        training=TrainingConfig(compile=Switch(wish)),
        distributed=DistributedConfig(strategy=Strategy(strategy)),
    )
    processes = SingleProcess()
    processes.world_size = world_size
    module = make_module(TASK)
    settle_compilation(config, module, Runtime(device, MixedPrecision(torch.float32, CPU), processes))
    return module


def is_whole_compiled(module: TrainableModule) -> bool:
    return module._compiled is not None


def are_layers_compiled(module: TrainableModule) -> bool:
    return all("forward" in vars(layer) for layer in module.model.sharding_units())


def has_kernels(module: TrainableModule) -> bool:
    return module._kernels is not None


def test_nothing_is_compiled_unless_it_is_asked_for() -> None:
    module = settle("never")
    assert not has_kernels(module)
    assert not is_whole_compiled(module)


@pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("wish", ["auto", "always"])
@pytest.mark.parametrize("world_size", [1, 2])
def test_a_cpu_trains_with_kernels_in_its_language(wish: str, world_size: int) -> None:
    module = settle(wish, strategy="fsdp", world_size=world_size)
    assert has_kernels(module)
    assert not is_whole_compiled(module)
    assert not are_layers_compiled(module)


@pytest.mark.parametrize("variables", [{}, {"CXX": "no-such-compiler"}])
def test_without_a_compiler_a_cpu_is_refused_with_what_to_install(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_no_compiler(monkeypatch, tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    programs = re.escape(variables.get("CXX", "c++ or g++ or clang++"))
    with pytest.raises(ConfigError, match=rf"always: there is no C\+\+ compiler \({programs}\)") as raised:
        settle("always")
    assert "another one in the environment's CXX, or leave training.compile=never" in str(raised.value.remedy)


def test_without_a_compiler_auto_on_a_cpu_goes_on_and_warns_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave_no_compiler(monkeypatch, tmp_path)
    assert not has_kernels(settle("auto"))
    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert "nothing is compiled, and training is slower, for there is no C++ compiler" in warning.getMessage()


@pytest.mark.usefixtures("a_gpu")
@pytest.mark.parametrize("wish", ["auto", "always"])
def test_on_a_gpu_the_whole_model_is_compiled(wish: str) -> None:
    module = settle(wish, device=GPU)
    assert is_whole_compiled(module)
    assert not are_layers_compiled(module)
    assert not has_kernels(module)


@pytest.mark.usefixtures("a_gpu")
def test_with_fsdp_layers_are_compiled_one_by_one() -> None:
    module = settle("always", form="packed", strategy="fsdp", world_size=2, device=GPU)
    assert are_layers_compiled(module)
    assert not is_whole_compiled(module)


def test_with_fsdp_padded_batches_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"training\.compile=always: with .*fsdp it needs batching\.form=packed"):
        settle("always", strategy="fsdp", world_size=2, device=GPU)


@pytest.mark.usefixtures("a_gpu")
def test_one_process_of_fsdp_is_as_without() -> None:
    assert is_whole_compiled(settle("always", strategy="fsdp", device=GPU))


@pytest.mark.usefixtures("a_gpu")
def test_on_a_gpu_auto_goes_on_without_a_compiler_and_warns_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert not is_whole_compiled(settle("auto", device=GPU))
    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert "there is no C compiler (gcc or clang)" in warning.getMessage()
    (tmp_path / "clang").write_text("")
    (tmp_path / "clang").chmod(0o755)
    assert is_whole_compiled(settle("auto", device=GPU))


def leave_no_compiler(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """None is found, nor kept from before."""
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CXX", raising=False)
    build.cache_clear()
