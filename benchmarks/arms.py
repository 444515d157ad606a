"""The contestants: each makes whole updates of the same model sizes on the same batches.

Run as a program, this file is one contestant in a process of its own: see `harness.process`. A piece of work is an
update.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.batches import NUM_TYPES, endless_batches, multi30k
from benchmarks.harness.serving import serve
from seqtrain.assemble.components import build_criterion, build_model, build_optimizer
from seqtrain.config.root import Precision
from seqtrain.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyConfig
from seqtrain.data.batch import Batch
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.models.transformer import TransformerConfig
from seqtrain.nn.positions import sinusoidal_table
from seqtrain.optimizers.adam import AdamConfig
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.metrics import MetricSums
from seqtrain.training.precision import MixedPrecision, resolve_dtype
from seqtrain.training.reduction import LocalSum
from seqtrain.training.runtime import prepare_process
from seqtrain.training.step import Learner, TrainableModule, UpdateOptions, run_update

LAYERS, WIDTH, FFN_WIDTH, HEADS, DROPOUT, SMOOTHING = 4, 128, 256, 4, 0.3, 0.1
CLIP_NORM, LEARNING_RATE, BETAS = 25.0, 5e-4, (0.9, 0.98)
MAX_TOKENS = 4096


class Arm(Protocol):
    """One contestant."""

    def update(self, batch: Batch) -> None:
        """Make one whole update: forward, loss, backward, clipping, optimizer."""


class SeqtrainArm:
    """seqtrain, as its trainer makes an update."""

    def __init__(self, precision: Precision, num_threads: int, *, width: int = WIDTH) -> None:
        prepare_process(num_threads, deterministic=False)
        cpu = torch.device("cpu")
        task = TinyTask()
        task.source_vocabulary = task.target_vocabulary = Vocabulary(f"type{number}" for number in range(4, NUM_TYPES))
        ffn_width = width * FFN_WIDTH // WIDTH
        sizes = {"layers": LAYERS, "embed_dim": width, "ffn_embed_dim": ffn_width, "attention_heads": HEADS}
        fields: Any = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in sizes.items()}
        model = build_model(TransformerConfig(share_all_embeddings=True, dropout=DROPOUT, **fields), task)
        criterion = build_criterion(LabelSmoothedCrossEntropyConfig(label_smoothing=SMOOTHING), task)
        module = TrainableModule(model, criterion).train()
        self.learner = Learner(
            task=task,
            module=module,
            precision=MixedPrecision(resolve_dtype(precision, cpu), cpu),
            device=cpu,
            optimizer=build_optimizer(AdamConfig(lr=LEARNING_RATE, betas=list(BETAS)), module),
            reduction=LocalSum(module),
            processes=SingleProcess(),
        )
        self.sums = MetricSums()
        self.options = UpdateOptions(clip_norm=CLIP_NORM, seed=1)
        self.num_updates = 0

    def update(self, batch: Batch) -> None:
        """See `Arm`."""
        run_update(self.learner, [batch], self.sums, options=self.options, first_batch=(1, self.num_updates))
        self.num_updates += 1


class PlainTransformer(nn.Module):
    """What one writes around torch.nn.Transformer: one table, sinusoidal positions, the masks."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(NUM_TYPES, WIDTH, padding_idx=Vocabulary.pad)
        nn.init.normal_(self.table.weight, std=WIDTH**-0.5)
        self.register_buffer("positions", sinusoidal_table(1024, WIDTH, Vocabulary.pad)[2:])
        self.dropout = nn.Dropout(DROPOUT)
        self.transformer = nn.Transformer(WIDTH, HEADS, LAYERS, LAYERS, FFN_WIDTH, DROPOUT, batch_first=True)

    def embed(self, tokens: Tensor) -> Tensor:
        """(B, T) -> (B, T, D)."""
        positions = self.get_buffer("positions")[: tokens.shape[1]]
        embedded: Tensor = self.dropout(self.table(tokens) * WIDTH**0.5 + positions)
        return embedded

    def forward(self, source: Tensor, previous: Tensor) -> Tensor:
        """(B, S), (B, T) -> logits (B, T, V)."""
        padding = source == Vocabulary.pad
        output = self.transformer(
            self.embed(source),
            self.embed(previous),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(previous.shape[1]),
            src_key_padding_mask=padding.float().masked_fill(padding, float("-inf")),
            memory_key_padding_mask=padding.float().masked_fill(padding, float("-inf")),
            tgt_is_causal=True,
        )
        return functional.linear(output, self.table.weight)


class PlainArm:
    """torch.nn.Transformer, torch's cross-entropy and Adam, in float32: the loop that one writes first."""

    def __init__(self, num_threads: int) -> None:
        torch.set_num_threads(num_threads)
        self.model = PlainTransformer()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE, betas=BETAS)

    def update(self, batch: Batch) -> None:
        """See `Arm`."""
        assert batch.source_tokens is not None
        self.optimizer.zero_grad()
        logits = self.model(batch.source_tokens, batch.previous_tokens)
        loss = functional.cross_entropy(
            logits.flatten(0, 1), batch.targets.flatten(), ignore_index=Vocabulary.pad, label_smoothing=SMOOTHING
        )
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimizer.step()


ARMS: dict[str, Callable[[int], Arm]] = {
    "plain": PlainArm,
    "seqtrain_fp32": lambda num_threads: SeqtrainArm(Precision.fp32, num_threads),
    "seqtrain_bf16": lambda num_threads: SeqtrainArm(Precision.bf16, num_threads),
}


def main() -> None:
    """Be one contestant: `python -m benchmarks.arms NAME NUM_THREADS NUM_BATCHES`."""
    name, num_threads, num_batches = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.manual_seed(1)
    arm = ARMS[name](num_threads)
    batches = list(itertools.islice(endless_batches(multi30k()[0], MAX_TOKENS), num_batches))

    def update(index: int) -> float:
        batch = batches[index % num_batches]
        arm.update(batch)
        return batch.num_tokens

    serve(update, {})


if __name__ == "__main__":
    main()
