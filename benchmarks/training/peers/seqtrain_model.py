"""seqtrain, as its trainer makes an update."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch

import seqtrain
from benchmarks.training.settings import Settings, Shape
from benchmarks.training.token_batches import TokenBatch
from benchmarks.training.trainer import Trainer
from seqtrain.assemble.components import build_criterion, build_model, build_optimizer
from seqtrain.config.root import Precision
from seqtrain.config.sections import AttentionBackend
from seqtrain.criterions.cross_entropy import CrossEntropyConfig
from seqtrain.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyConfig
from seqtrain.data.batch import Batch
from seqtrain.data.lengths import LengthTotals
from seqtrain.data.packing import PackedShape, cut_packed
from seqtrain.data.pairs import PairDataset
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.models.schema import ModelConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.transformer_lm import TransformerLMConfig
from seqtrain.nn.attention import set_attention_backend
from seqtrain.nn.options import Activation
from seqtrain.nn.training_kernels import TrainingKernels
from seqtrain.optimizers.adam import AdamConfig
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.compilation import CompileOptions
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.metrics import MetricSums
from seqtrain.training.precision import MixedPrecision, resolve_dtype
from seqtrain.training.reduction import LocalSum
from seqtrain.training.runtime import prepare_process
from seqtrain.training.step import Learner, TrainableModule, UpdateOptions, run_update


class SeqtrainTrainer(Trainer[Batch]):
    """See `Trainer`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        prepare_process(settings.num_threads, deterministic=False)
        self.versions = {"seqtrain": seqtrain.__version__}
        self.learner = make_learner(settings)
        self.model = self.learner.module.model
        self._shape: PackedShape | None = None
        self._sums = MetricSums()
        self._options = UpdateOptions(clip_norm=settings.clip_norm, seed=settings.seed)
        self.num_updates = 0

    def plan(self, batches: list[TokenBatch]) -> list[TokenBatch]:
        """See `Trainer`; for the packed form, the same sentences in a random order, cut as its plan cuts them.

        Its batches have as many tokens of the longer side as the others have in the mean: all of its own are alike.
        """
        if self.settings.form == "padded":
            return batches
        sources = [source for batch in batches for source in batch.sources]
        targets = [target for batch in batches for target in batch.targets]
        order = np.random.default_rng(self.settings.seed).permutation(len(targets))
        lengths = np.array([(len(sources[number]), len(targets[number])) for number in order])
        totals = LengthTotals().with_lengths(lengths)
        max_tokens = math.ceil(max(totals.totals) / len(batches)) + 1  # a row stands for no token
        self._shape = PackedShape.of(totals, max_tokens, None)
        bounds = cut_packed(lengths, self._shape)[:-1] if len(batches) > 1 else np.array([0, len(order)])
        parts = [order[start:end] for start, end in itertools.pairwise(bounds)]  # without the last, which is not full
        return [TokenBatch([sources[n] for n in part], [targets[n] for n in part]) for part in parts]

    def prepare(self, batch: TokenBatch) -> Batch:
        """See `Trainer`."""
        dataset = PairDataset.from_lists(batch.sources or None, batch.targets)
        indices = np.arange(len(dataset))
        shape = self._shape
        collated = dataset.collate(indices) if shape is None else dataset.collate_packed(indices, shape)
        return collated.to(self.learner.device)

    def update(self, prepared: Batch) -> None:
        """See `Trainer`."""
        run_update(self.learner, [prepared], self._sums, options=self._options, first_batch=(1, self.num_updates))
        self.num_updates += 1


def make_learner(settings: Settings) -> Learner:
    """What the trainer would have built of a config of this shape."""
    shape, device = settings.shape, torch.device(settings.device)
    task = TinyTask(has_sources=not shape.is_decoder_only)
    task.target_vocabulary = Vocabulary(f"type{number}" for number in range(4, shape.num_types))
    task.source_vocabulary = None if shape.is_decoder_only else task.target_vocabulary
    smoothed = LabelSmoothedCrossEntropyConfig(label_smoothing=shape.smoothing)
    criterion = build_criterion(smoothed if shape.smoothing else CrossEntropyConfig(), task)
    module = TrainableModule(build_model(model_config(shape), task), criterion).train().to(device)
    if settings.form != "padded":
        set_attention_backend(module.model, AttentionBackend(settings.form.removeprefix("packed-")))
    if settings.is_compiled:
        _compile(module, device)
    return Learner(
        task=task,
        module=module,
        precision=MixedPrecision(resolve_dtype(Precision(settings.precision), device), device),
        device=device,
        optimizer=build_optimizer(AdamConfig(lr=settings.learning_rate, betas=list(settings.betas)), module),
        reduction=LocalSum(module),
        processes=SingleProcess(),
    )


def _compile(module: TrainableModule, device: torch.device) -> None:
    """As `training.compile=always` does."""
    if device.type == "cpu":
        module.use_kernels(TrainingKernels())
    else:
        module.compile_training(CompileOptions())


def model_config(shape: Shape) -> ModelConfig:
    """The model of a shape."""
    sizes = {"layers": shape.num_layers, "embed_dim": shape.width, "ffn_embed_dim": shape.ffn_width}
    sizes["attention_heads"] = shape.num_heads
    if shape.is_decoder_only:
        fields: Any = {f"decoder_{name}": size for name, size in sizes.items()}
        return TransformerLMConfig(
            share_decoder_input_output_embed=True,
            decoder_learned_pos=True,
            no_scale_embedding=True,
            dropout=shape.dropout,
            activation_fn=Activation.gelu,
            max_target_positions=shape.max_length,
            **fields,
        )
    fields = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in sizes.items()}
    return TransformerConfig(share_all_embeddings=True, dropout=shape.dropout, **fields)


def make(settings: Settings) -> SeqtrainTrainer:
    """The contestant."""
    return SeqtrainTrainer(settings)
