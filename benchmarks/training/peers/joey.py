"""JoeyNMT: its model, loss, clipping and optimizer, in the steps of its TrainManager."""

from __future__ import annotations

from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from joeynmt.batch import Batch
from joeynmt.builders import build_gradient_clipper, build_optimizer
from joeynmt.model import build_model
from joeynmt.transformer_layers import MultiHeadedAttention
from joeynmt.vocabulary import Vocabulary

from benchmarks.training.settings import BOS, PAD, Settings, Shape
from benchmarks.training.token_batches import TokenBatch, Tokens, pad
from benchmarks.training.trainer import Trainer

EOS_HERE = 3


class JoeyTrainer(Trainer[Batch]):
    """See `Trainer`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.versions = {"joeynmt": version("joeynmt")}
        vocabulary = _vocabulary(settings.shape)
        model: Any = build_model(_model_section(settings.shape), vocabulary, vocabulary)
        model.loss_function = ("crossentropy", settings.shape.smoothing)
        self.model = model.to(settings.device)
        for module in self.model.modules():
            if isinstance(module, MultiHeadedAttention):
                module.dropout.p = 0.0  # no contestant drops attention weights
        section = {
            "optimizer": "adam",
            "learning_rate": settings.learning_rate,
            "adam_betas": settings.betas,
            "clip_grad_norm": settings.clip_norm,
            "clip_grad_val": None,
        }
        self.optimizer = build_optimizer(section, self.model.parameters())
        self.clip = build_gradient_clipper(section)
        self.model.train()

    def prepare(self, batch: TokenBatch) -> Batch:
        """See `Trainer`."""
        sources, targets = (_renumber(rows) for rows in (batch.padded_sources(), pad(batch.targets_after(BOS))))
        return Batch(
            src=torch.from_numpy(sources),
            src_length=torch.tensor([len(source) for source in batch.sources]),
            src_prompt_mask=None,
            trg=torch.from_numpy(targets),
            trg_prompt_mask=None,
            indices=torch.arange(len(sources)),
            device=torch.device(self.settings.device),
            pad_index=PAD,
            eos_index=EOS_HERE,
        )

    def update(self, prepared: Batch) -> None:
        """See `Trainer`; as `TrainManager._train_step` and the loop around it."""
        prepared.sort_by_src_length()
        with self.autocast():
            loss, _, _, num_correct = self.model(return_type="loss", **vars(prepared))
        loss = prepared.normalize(loss, normalization="tokens", n_gpu=0)
        loss.backward()
        loss.item()
        prepared.normalize(num_correct, "sum", 0).item()
        self.clip(parameters=self.model.parameters())
        self.optimizer.step()
        self.model.zero_grad()


def _vocabulary(shape: Shape) -> Vocabulary:
    symbols = {"unk": "<unk>", "pad": "<pad>", "bos": "<s>", "eos": "</s>"}  # numbered in this order
    numbers = {f"{name}_id": number for number, name in enumerate(symbols)}
    tokens = {f"{name}_token": symbol for name, symbol in symbols.items()}
    specials = SimpleNamespace(sep_token=None, lang_tags=[], **numbers, **tokens)
    return Vocabulary([f"type{number}" for number in range(len(symbols), shape.num_types)], specials)


def _renumber(rows: Tokens) -> Tokens:
    """The special symbols by JoeyNMT's numbers: 0 to 3 are unknown, padding, beginning and end."""
    numbers = np.array([2, PAD, EOS_HERE, 0])
    return np.where(rows < len(numbers), numbers[np.minimum(rows, 3)], rows)


def _model_section(shape: Shape) -> dict[str, Any]:
    stack = {
        "type": "transformer",
        "num_layers": shape.num_layers,
        "num_heads": shape.num_heads,
        "embeddings": {"embedding_dim": shape.width, "scale": True, "dropout": shape.dropout},
        "hidden_size": shape.width,
        "ff_size": shape.ffn_width,
        "dropout": shape.dropout,
        "layer_norm": "post",
    }
    return {
        "encoder": stack,
        "decoder": stack,
        "tied_embeddings": True,
        "tied_softmax": True,
        "initializer": "xavier_uniform",
        "bias_initializer": "zeros",
        "embed_initializer": "xavier_uniform",
    }


def make(settings: Settings) -> JoeyTrainer:
    """The contestant."""
    return JoeyTrainer(settings)
