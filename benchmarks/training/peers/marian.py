"""Hugging Face transformers: MarianMTModel, with the label smoothing, clipping and fused AdamW of its Trainer."""

from __future__ import annotations

import torch
import transformers
from torch import Tensor
from transformers import MarianConfig, MarianMTModel
from transformers.trainer_pt_utils import LabelSmoother

from benchmarks.training.settings import BOS, EOS, PAD, Settings
from benchmarks.training.token_batches import TokenBatch
from benchmarks.training.trainer import Trainer

IGNORED = -100

Prepared = dict[str, Tensor]


class MarianTrainer(Trainer[Prepared]):
    """See `Trainer`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.versions = {"transformers": transformers.__version__}
        self.model = MarianMTModel(_config(settings)).to(settings.device).train()
        self.smoother = LabelSmoother(epsilon=settings.shape.smoothing, ignore_index=IGNORED)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.learning_rate, betas=settings.betas, weight_decay=0.0, fused=True
        )

    def prepare(self, batch: TokenBatch) -> Prepared:
        """What DataCollatorForSeq2Seq makes."""
        sources, targets = torch.from_numpy(batch.padded_sources()), torch.from_numpy(batch.padded_targets())
        prepared = {
            "input_ids": sources,
            "attention_mask": sources.ne(PAD).long(),
            "decoder_input_ids": torch.from_numpy(batch.previous_tokens(EOS)),
            "labels": targets.masked_fill(targets == PAD, IGNORED),
        }
        return {name: tensor.to(self.settings.device) for name, tensor in prepared.items()}

    def update(self, prepared: Prepared) -> None:
        """See `Trainer`; as `Trainer.compute_loss` and the loop around it."""
        inputs = {name: tensor for name, tensor in prepared.items() if name != "labels"}
        with self.autocast():
            loss = self.smoother(self.model(**inputs, use_cache=False), prepared["labels"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.model.zero_grad()


def _config(settings: Settings) -> MarianConfig:
    shape = settings.shape
    return MarianConfig(
        vocab_size=shape.num_types,
        d_model=shape.width,
        encoder_layers=shape.num_layers,
        decoder_layers=shape.num_layers,
        encoder_ffn_dim=shape.ffn_width,
        decoder_ffn_dim=shape.ffn_width,
        encoder_attention_heads=shape.num_heads,
        decoder_attention_heads=shape.num_heads,
        max_position_embeddings=shape.max_length,
        dropout=shape.dropout,
        attention_dropout=0.0,
        activation_dropout=0.0,
        activation_function="relu",
        scale_embedding=True,
        share_encoder_decoder_embeddings=True,
        tie_word_embeddings=True,
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=EOS,
        forced_eos_token_id=None,
        decoder_start_token_id=EOS,
        attn_implementation=ATTENTION[settings.device, settings.precision],
    )


# The faster one: on the CPU the backward pass of the fused kernel is slow, in bf16 above all.
ATTENTION = {("cpu", "fp32"): "eager", ("cpu", "bf16"): "eager", ("cuda", "fp32"): "sdpa", ("cuda", "bf16"): "sdpa"}


def make(settings: Settings) -> MarianTrainer:
    """The contestant."""
    return MarianTrainer(settings)
