"""A Transformer on packed batches: the same losses as on padded ones, one graph, no wait for the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from seqtrain.config.root import AttentionBackend, TrainBatchingConfig
from seqtrain.criterions.losses import token_loss
from seqtrain.data.batch import Batch
from seqtrain.data.dataset import IterationOptions
from seqtrain.data.loader import BatchIterator
from seqtrain.models.transformer.model import Transformer
from seqtrain.models.transformer.schema import TransformerConfig
from seqtrain.nn.attention import set_attention_backend
from seqtrain.testing.fakes import TinyTask

TASK = TinyTask(num_examples=150)
WAITING = {  # operators whose result, or its size, the host must ask the device for
    "aten._local_scalar_dense",
    "aten.equal",
    "aten.index",
    "aten.index_put",
    "aten.index_put_",
    "aten.is_nonzero",
    "aten.item",
    "aten.masked_select",
    "aten.nonzero",
    "aten.repeat_interleave",
    "aten.unique_dim",
    "aten._unique2",
}


def packed_batches() -> Iterator[Batch]:
    options = IterationOptions(
        batching=TrainBatchingConfig(max_tokens=200, num_prefetch=0), max_positions=(99, 99), packed=True
    )
    return (update[0] for update in BatchIterator(TASK.dataset("train"), options))


def model(**options: Any) -> Transformer:
    torch.manual_seed(1)
    sizes = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", 2), ("embed_dim", 16), ("ffn_embed_dim", 24), ("attention_heads", 2))
    }
    return Transformer(TransformerConfig(**{"dropout": 0.0, **sizes, **options}), TASK)


def loss_and_gradient(transformer: Transformer, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The smoothed loss, the negative log-likelihood, and the gradient of all parameters in a row."""
    transformer.zero_grad()
    output = token_loss(transformer, batch, label_smoothing=0.1, sentence_avg=False)
    output.loss_sum.backward()
    gradients = [parameter.grad for parameter in transformer.parameters() if parameter.grad is not None]
    return output.loss_sum.detach(), output.logs["nll_loss"], torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("backend", [AttentionBackend.matmul, AttentionBackend.sdpa])
@pytest.mark.parametrize(
    "options",
    [
        {"share_all_embeddings": True},
        {"encoder_normalize_before": True, "decoder_normalize_before": True, "decoder_output_dim": 8},
        {"encoder_learned_pos": True, "decoder_learned_pos": True, "max_target_positions": 9},
    ],
)
def test_packed_and_padded_batches_have_the_same_losses_and_gradients(
    backend: AttentionBackend, options: dict[str, Any]
) -> None:
    transformer = model(**options).double()
    dataset = TASK.dataset("train")
    for batch in packed_batches():
        set_attention_backend(transformer, AttentionBackend.auto)
        padded = loss_and_gradient(transformer, dataset.collate(batch.ids.numpy()))
        set_attention_backend(transformer, backend)
        packed = loss_and_gradient(transformer, batch)
        assert_close(packed, padded, rtol=1e-9, atol=1e-9)


def test_attention_dropout_works_in_packed_batches() -> None:
    transformer = model(attention_dropout=0.5).train()
    set_attention_backend(transformer, AttentionBackend.sdpa)
    losses = [loss_and_gradient(transformer, batch)[0] for batch in [next(packed_batches())] * 2]
    assert losses[0] != losses[1]


def test_the_logits_of_a_packed_batch_are_those_of_its_rows() -> None:
    transformer, batch = model().eval(), next(packed_batches())
    logits = transformer.forward_batch(batch)
    assert logits.shape == (1, batch.targets.shape[1], len(TASK.target_vocabulary))
    padded = TASK.dataset("train").collate(batch.ids.numpy())
    expected = transformer.forward_batch(padded).flatten(0, 1)[padded.target_positions]
    assert_close(logits[0, batch.target_positions], expected, rtol=1e-4, atol=1e-5)


class Operators(TorchDispatchMode):
    """Counts the operators that are called."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch has no annotation there
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[str(operator.overloadpacket)] += 1
        return operator(*args, **(kwargs or {}))


def operators_of_a_pass(backend: AttentionBackend, batch: Batch) -> Counter[str]:
    """Of the features and their gradient, on tensors without numbers: whoever asks for one fails."""
    transformer = model().to("meta").train()
    set_attention_backend(transformer, backend)
    batch = batch.to(torch.device("meta"))
    with Operators() as operators:
        transformer.forward_features(batch).sum().backward()
    counts: Counter[str] = operators.counts
    return counts


@pytest.mark.parametrize("backend", [AttentionBackend.sdpa, AttentionBackend.varlen])
def test_no_operator_waits_for_the_device(backend: AttentionBackend) -> None:
    counts = operators_of_a_pass(backend, next(packed_batches()))
    assert not WAITING & counts.keys()
    assert not {name for name in counts if "copy" in name}, "nothing is moved between host and device"


def test_a_padded_batch_does_not_wait_either() -> None:
    batch = TASK.dataset("train").collate(next(packed_batches()).ids.numpy())
    assert not WAITING & operators_of_a_pass(AttentionBackend.sdpa, batch).keys()


def test_sources_of_one_length_need_no_mask() -> None:
    dataset = TASK.dataset("train")
    lengths = dataset.lengths[:, 0]
    alike, mixed = (dataset.collate(numbers.nonzero()[0]) for numbers in (lengths == lengths[0], lengths > 0))
    counts = [operators_of_a_pass(AttentionBackend.sdpa, batch) for batch in (alike, mixed)]
    assert [found["aten.masked_fill_"] for found in counts] == [0, 1]


def test_each_layer_shares_the_masks_of_a_packed_batch() -> None:
    # encoder, decoder, and from one to the other: three masks for two layers
    assert operators_of_a_pass(AttentionBackend.sdpa, next(packed_batches()))["aten.masked_fill_"] == 3
    assert operators_of_a_pass(AttentionBackend.varlen, next(packed_batches()))["aten.masked_fill_"] == 0


# torch.compile makes an instance of every autograd function that it meets, against which torch itself warns
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("backend", [AttentionBackend.auto, AttentionBackend.varlen])
def test_all_packed_batches_are_computed_by_one_graph(backend: AttentionBackend) -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    transformer = model()
    set_attention_backend(transformer, backend)
    device = torch.device("cpu")
    if backend is AttentionBackend.varlen:  # its kernel needs a GPU: shapes alone
        device = torch.device("meta")
    transformer.to(device)
    counter = CompileCounterWithBackend("aot_eager")
    features: Callable[[Batch], Tensor] = torch.compile(
        transformer.forward_features, backend=counter, fullgraph=True, dynamic=False
    )
    batches = list(packed_batches())
    for batch in batches:
        compiled = features(batch.to(device))
        if device.type == "cpu":
            expected = transformer.forward_features(batch)[:, batch.target_positions]
            assert_close(compiled[:, batch.target_positions], expected, rtol=1e-4, atol=1e-5)
    assert len(batches) > 2
    assert counter.frame_count == 1
