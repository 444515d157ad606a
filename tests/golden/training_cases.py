"""The training runs of fairseq in golden/fairseq/training, as our models, criterions and batches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqtrain.criterions import Criterion
from seqtrain.criterions.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqtrain.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropy, LabelSmoothedCrossEntropyConfig
from seqtrain.data.batch import Batch
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.lr_schedulers.inverse_sqrt import InverseSqrt, InverseSqrtConfig
from seqtrain.models.base import Model
from seqtrain.models.transformer.model import Transformer
from seqtrain.models.transformer.schema import TransformerConfig
from seqtrain.models.transformer_lm.model import TransformerLM
from seqtrain.models.transformer_lm.schema import TransformerLMConfig
from seqtrain.optimizers.adam import AdamConfig
from seqtrain.optimizers.torch_adam import Adam
from seqtrain.testing.fakes import TinyTask
from tests.golden.fairseq_weights import our_state_dict
from tests.shared import shared


@dataclass(frozen=True)
class TrainingCase:
    """One run: `translation_postnorm_shared` or `lm_transformer`."""

    name: str

    @property
    def is_translation(self) -> bool:
        return self.name.startswith("translation")

    @cached_property
    def expected(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(
            (shared(f"golden/fairseq/training/{self.name}") / "expected.json").read_text()
        )
        return values

    @cached_property
    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = self.expected["settings"]
        return settings

    def arrays(self, file: str) -> dict[str, np.ndarray]:
        return dict(np.load(shared(f"golden/fairseq/training/{self.name}/{file}.npz")))

    def model(self) -> Transformer | TransformerLM:
        """Our model with fairseq's initial weights."""
        weights = self.arrays("weights_initial")
        model = self._new_model(len(weights["decoder.embed_tokens.weight"]))
        model.load_state_dict(our_state_dict(weights, set(model.state_dict())))
        return model

    def _new_model(self, num_types: int) -> Transformer | TransformerLM:
        task = TinyTask(has_sources=self.is_translation)
        task.target_vocabulary = Vocabulary([f"type{number}" for number in range(4, num_types)])
        task.source_vocabulary = task.target_vocabulary if self.is_translation else None
        if self.is_translation:
            names = [name for name in self.settings if name in TransformerConfig.__dataclass_fields__]
            settings = {name: self.settings[name] for name in names if name != "activation_fn"}
            return Transformer(TransformerConfig(dropout=0.0, **settings), task)
        names = [name for name in self.settings if name in TransformerLMConfig.__dataclass_fields__]
        settings = {name: self.settings[name] for name in names if name != "max_target_positions"}
        return TransformerLM(TransformerLMConfig(dropout=0.0, decoder_normalize_before=False, **settings), task)

    def criterion(self) -> Criterion:
        if self.is_translation:
            config = LabelSmoothedCrossEntropyConfig(label_smoothing=self.settings["label_smoothing"])
            return LabelSmoothedCrossEntropy(config, TinyTask())
        return CrossEntropy(CrossEntropyConfig(), TinyTask())

    def optimizer(self, model: Model) -> Adam:
        config = AdamConfig(lr=self.settings["lr"][0], eps=self.settings["adam_eps"])
        return Adam(config, [{"params": list(model.parameters()), "weight_decay": self.settings["weight_decay"]}])

    def schedule(self, optimizer: Adam) -> InverseSqrt:
        names = ("warmup_updates", "warmup_init_lr")
        return InverseSqrt(InverseSqrtConfig(**{name: self.settings[name] for name in names}), optimizer)

    def batch(self, update: int) -> Batch:
        """The batch of an update, counted from 0, its sources padded on the right."""
        prefix = f"u{update}.m0."
        arrays = {name.removeprefix(prefix): value for name, value in self.arrays("batches").items()}
        source, targets = torch.from_numpy(arrays["src_tokens"]), torch.from_numpy(arrays["target"])
        lengths = torch.from_numpy(arrays["src_lengths"])
        positions = targets.flatten().ne(Vocabulary.pad).nonzero().squeeze(-1)
        return Batch(
            ids=torch.from_numpy(arrays["id"]),
            previous_tokens=torch.from_numpy(arrays["prev_output_tokens"]) if self.is_translation else source,
            targets=targets,
            target_positions=positions,
            num_tokens=len(positions),
            source_tokens=_pad_right(source, lengths) if self.is_translation else None,
            source_lengths=lengths if self.is_translation else None,
        )


def _pad_right(tokens: Tensor, lengths: Tensor) -> Tensor:
    moved = torch.full_like(tokens, Vocabulary.pad)
    for row, length in enumerate(lengths.tolist()):
        moved[row, :length] = tokens[row, tokens.shape[1] - length :]
    return moved
