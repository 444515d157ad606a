"""Which form and which attention a run gets, and what it is told if it cannot have what it asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from seqtrain.assemble.attention import settle_attention
from seqtrain.assemble.components import Runtime
from seqtrain.config.root import AttentionBackend, BatchForm, TrainBatchingConfig, TrainConfig, TrainingConfig
from seqtrain.errors import ConfigError
from seqtrain.models.base import Model
from seqtrain.models.transformer.model import Transformer
from seqtrain.models.transformer.schema import TransformerConfig
from seqtrain.models.transformer_lm.model import TransformerLM
from seqtrain.models.transformer_lm.schema import TransformerLMConfig
from seqtrain.nn.attention import SelfAttention
from seqtrain.testing.fakes import TinyModel, TinyTask
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.precision import MixedPrecision

TASK = TinyTask()


def transformer(**options: Any) -> Transformer:
    sizes = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", 1), ("embed_dim", 64), ("ffn_embed_dim", 64), ("attention_heads", 2))
    }
    return Transformer(TransformerConfig(**{**sizes, **options}), TASK)


def settle(
    model: Model,
    attention: str = "auto",
    form: str = "padded",
    *,
    task: TinyTask = TASK,
    device: str = "cpu",
    **training: Any,
) -> set[AttentionBackend]:
    """The backends of the model's attention afterwards."""
    where = torch.device(device)
    dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
    config = TrainConfig(
        batching=TrainBatchingConfig(form=BatchForm(form), max_tokens=512),
        training=TrainingConfig(attention=AttentionBackend(attention), **training),
    )
    settle_attention(config, task, model, Runtime(where, MixedPrecision(dtype, where), SingleProcess()))
    return {module.backend for module in model.modules() if isinstance(module, SelfAttention)}


@pytest.mark.parametrize("form", ["padded", "packed"])
@pytest.mark.parametrize("attention", ["auto", "matmul", "sdpa"])
def test_a_cpu_computes_what_is_asked(attention: str, form: str) -> None:
    assert settle(transformer(), attention, form) == {AttentionBackend(attention)}


@pytest.mark.parametrize(
    ("attention", "form", "reason"),
    [
        ("varlen", "padded", "it needs batching.form=packed"),
        ("varlen", "packed", "it needs a GPU"),
    ],
)
def test_what_cannot_be_used_is_refused(attention: str, form: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settle(transformer(), attention, form)
    assert caught.value.args[0] == f"training.attention={attention} cannot be used: {reason}"
    assert caught.value.remedy == "leave training.attention=auto"


def test_plain_products_are_for_the_cpu() -> None:
    with pytest.raises(ConfigError, match=r"training\.attention=matmul cannot be used: it is for the CPU"):
        settle(transformer(), "matmul", device="meta")


def test_a_model_that_knows_no_packed_batches_is_refused_them() -> None:
    with pytest.raises(ConfigError) as caught:
        settle(TinyModel(TASK), form="packed")
    assert caught.value.args[0] == "batching.form=packed: TinyModel takes padded batches alone"
    assert caught.value.remedy == "set batching.form=padded, or model=transformer"


def test_a_language_model_is_refused_packed_batches() -> None:
    task = TinyTask(has_sources=False)
    with pytest.raises(ConfigError, match="TransformerLM takes padded batches alone"):
        settle(TransformerLM(TransformerLMConfig(decoder_embed_dim=8), task), form="packed", task=task)


def test_a_task_without_packed_batches_is_refused_them() -> None:
    class Task(TinyTask):
        def load_dataset(self, split: str) -> Any:
            """Something that only collates."""
            return object()

    with pytest.raises(ConfigError, match=r"batching\.form=packed: the task .* makes no packed batches"):
        settle(transformer(), form="packed", task=Task())


def test_a_model_with_attention_of_its_own_is_left_alone() -> None:
    assert settle(TinyModel(TASK)) == set()
    with pytest.raises(ConfigError, match=r"training\.attention=sdpa: TinyModel computes its attention itself"):
        settle(TinyModel(TASK), "sdpa")


@pytest.mark.gpu
def test_a_gpu_takes_varlen_where_results_must_be_the_same_each_time() -> None:
    assert settle(transformer(), form="packed", device="cuda", deterministic=True) == {AttentionBackend.varlen}
    with_dropout = transformer(attention_dropout=0.1)
    assert settle(with_dropout, form="packed", device="cuda", deterministic=True) == {AttentionBackend.sdpa}


@pytest.mark.gpu
def test_a_gpu_measures_what_it_takes(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        chosen = settle(transformer(), form="packed", device="cuda")
    assert chosen <= {AttentionBackend.varlen, AttentionBackend.sdpa}
    assert "attention, forward and backward, on one batch" in caplog.text
    assert settle(transformer(), device="cuda") == {AttentionBackend.sdpa}
