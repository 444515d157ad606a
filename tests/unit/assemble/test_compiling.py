"""Which runs compile, and what those are told that ask for it and cannot have it."""

from __future__ import annotations

import logging

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


def settle(wish: str, *, form: str = "padded", strategy: str = "ddp", world_size: int = 1) -> TrainableModule:
    config = TrainConfig(
        batching=TrainBatchingConfig(form=BatchForm(form)),
        training=TrainingConfig(compile=Switch(wish)),
        distributed=DistributedConfig(strategy=Strategy(strategy)),
    )
    processes = SingleProcess()
    processes.world_size = world_size
    module = make_module(TASK)
    settle_compilation(config, module, Runtime(CPU, MixedPrecision(torch.float32, CPU), processes))
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
