"""seqtrain, as its trainer makes an update."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import seqtrain
from benchmarks.training.settings import Settings, Shape
from benchmarks.training.token_batches import TokenBatch
from seqtrain.assemble.components import build_criterion, build_model, build_optimizer
from seqtrain.config.root import Precision
from seqtrain.criterions.cross_entropy import CrossEntropyConfig
from seqtrain.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyConfig
from seqtrain.data.batch import Batch
from seqtrain.data.pairs import PairDataset
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.models.schema import ModelConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.transformer_lm import TransformerLMConfig
from seqtrain.nn.options import Activation
from seqtrain.optimizers.adam import AdamConfig
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.metrics import MetricSums
from seqtrain.training.precision import MixedPrecision, resolve_dtype
from seqtrain.training.reduction import LocalSum
from seqtrain.training.runtime import prepare_process
from seqtrain.training.step import Learner, TrainableModule, UpdateOptions, run_update


class SeqtrainTrainer:
    """See `arm.Trainer`."""

    def __init__(self, settings: Settings) -> None:
        prepare_process(settings.num_threads, deterministic=False)
        self.versions = {"seqtrain": seqtrain.__version__}
        self.learner = make_learner(settings)
        self.model = self.learner.module.model
        self._sums = MetricSums()
        self._options = UpdateOptions(clip_norm=settings.clip_norm, seed=settings.seed)
        self.num_updates = 0

    def prepare(self, batch: TokenBatch) -> Batch:
        """See `arm.Trainer`."""
        dataset = PairDataset.from_lists(batch.sources or None, batch.targets)
        return dataset.collate(np.arange(len(dataset))).to(self.learner.device)

    def update(self, prepared: Batch) -> None:
        """See `arm.Trainer`."""
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
    return Learner(
        task=task,
        module=module,
        precision=MixedPrecision(resolve_dtype(Precision(settings.precision), device), device),
        device=device,
        optimizer=build_optimizer(AdamConfig(lr=settings.learning_rate, betas=list(settings.betas)), module),
        reduction=LocalSum(module),
        processes=SingleProcess(),
    )


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
