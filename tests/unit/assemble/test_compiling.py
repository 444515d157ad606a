"""Which runs compile, and what those are told that ask for it and cannot have it."""

from __future__ import annotations

import logging
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
import torch

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
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.step import TrainableModule
from tests.unit.training.traced import make_module

pytestmark = pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch imports its own
TASK = TinyTask(num_letters=20)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any program, for nothing is compiled here."""
    monkeypatch.setenv("CXX", sys.executable)


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


def test_nothing_is_compiled_unless_it_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert not is_whole_compiled(settle("never"))
    assert not is_whole_compiled(settle("auto"))
    assert "nothing is compiled, for it makes training on a CPU slower" in caplog.text


def test_a_cpu_compiles_where_it_is_told_to() -> None:
    module = settle("always")
    assert is_whole_compiled(module)
    assert not are_layers_compiled(module)


def test_with_fsdp_layers_are_compiled_one_by_one() -> None:
    module = settle("always", form="packed", strategy="fsdp", world_size=2)
    assert are_layers_compiled(module)
    assert not is_whole_compiled(module)


def test_with_fsdp_padded_batches_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"training\.compile=always: with .*fsdp it needs batching\.form=packed"):
        settle("always", strategy="fsdp", world_size=2)


def test_one_process_of_fsdp_is_as_without() -> None:
    assert is_whole_compiled(settle("always", strategy="fsdp"))


@pytest.mark.parametrize("variables", [{}, {"CXX": "no-such-compiler"}])
def test_without_a_compiler_it_is_refused_with_what_to_install(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    program = variables.get("CXX", "clang\\+\\+" if sys.platform == "darwin" else "g\\+\\+")
    with pytest.raises(ConfigError, match=rf"always: there is no C\+\+ compiler \({program}\)") as raised:
        settle("always")
    assert "or set CXX to another compiler, or leave training.compile=never" in str(raised.value.remedy)


def test_on_a_gpu_auto_goes_on_without_a_compiler_and_warns_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setitem(sys.modules, "triton", make_triton())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert not is_whole_compiled(settle("auto", device=torch.device("cuda")))
    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert "there is no C compiler (gcc or clang)" in warning.getMessage()
    (tmp_path / "clang").write_text("")
    (tmp_path / "clang").chmod(0o755)
    assert is_whole_compiled(settle("auto", device=torch.device("cuda")))


def make_triton() -> ModuleType:
    """A package that is installed, as far as one can see."""
    triton = ModuleType("triton")
    triton.__spec__ = ModuleSpec("triton", None)
    return triton
