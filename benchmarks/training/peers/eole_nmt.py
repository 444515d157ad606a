"""eole: its model, its loss, its optimizer and its Trainer, which makes the updates."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch
from eole.config.run import TrainConfig
from eole.inputters.inputter import dict_to_vocabs
from eole.models.model import get_model_class
from eole.trainer import build_trainer
from eole.utils import Statistics
from eole.utils.optimizers import Optimizer

from benchmarks.training.settings import BOS, Settings, Shape
from benchmarks.training.token_batches import TokenBatch, pad
from benchmarks.training.trainer import Trainer

SPECIALS = {"bos_token": "<s>", "pad_token": "<blank>", "eos_token": "</s>", "unk_token": "<unk>"}  # by number


class EoleTrainer(Trainer[dict[str, Any]]):
    """See `Trainer`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.versions = {"eole": version("eole")}
        config = _config(settings)
        tokens = [*SPECIALS.values(), *(f"type{number}" for number in range(len(SPECIALS), settings.shape.num_types))]
        vocabs = dict_to_vocabs({"src": tokens, "tgt": tokens, "specials": SPECIALS})
        device_id = 0 if settings.device == "cuda" else -1
        model_class = get_model_class(config.model)
        self.model = model_class.for_training(config.model, vocabs, config.training, device_id=device_id)
        runner = torch.compile(self.model, dynamic=True) if settings.is_compiled else self.model
        optimizer = Optimizer.from_config(runner, config)
        self.trainer = build_trainer(config, device_id, runner, vocabs, optimizer)
        self.model.train()

    def prepare(self, batch: TokenBatch) -> dict[str, Any]:
        """See `Trainer`."""
        targets = pad(batch.targets_after(BOS))
        lengths = torch.tensor([len(source) for source in batch.sources])
        arrays = {"src": torch.from_numpy(batch.padded_sources()), "tgt": torch.from_numpy(targets), "srclen": lengths}
        tensors = {name: tensor.to(self.settings.device) for name, tensor in arrays.items()}
        return {
            **tensors,
            "images": None,
            "prefix_len": None,
            "cid": [""] * len(targets),
            "cid_line_number": list(range(len(targets))),
        }

    def update(self, prepared: dict[str, Any]) -> None:
        """See `Trainer`; one turn of `Trainer.train`."""
        (batches, normalization), *_ = self.trainer._accum_batches(iter([(prepared, 0)]))
        step = self.trainer.optim.training_step
        self.trainer._update_scheduled_params(step)
        self.trainer._train_step(batches, normalization, Statistics(), Statistics(), step=step)


def _config(settings: Settings) -> TrainConfig:
    return TrainConfig(
        src_vocab="in memory",
        tgt_vocab="in memory",
        share_vocab=True,
        data={},
        model=_model_section(settings.shape),
        training={
            "optim": "adam",
            "learning_rate": settings.learning_rate,
            "adam_beta1": settings.betas[0],
            "adam_beta2": settings.betas[1],
            "max_grad_norm": settings.clip_norm,
            "label_smoothing": settings.shape.smoothing,
            "normalization": "tokens",
            "dropout": [settings.shape.dropout],
            "attention_dropout": [0.0],
            "dropout_steps": [0],
            "param_init_method": "xavier_uniform",
            "compute_dtype": settings.precision,
            "log_attention_entropy": False,
            "world_size": 1 if settings.device == "cuda" else 0,
            "gpu_ranks": [0] if settings.device == "cuda" else [],
        },
    )


def _model_section(shape: Shape) -> dict[str, Any]:
    return {
        "architecture": "transformer",
        "layers": shape.num_layers,
        "hidden_size": shape.width,
        "heads": shape.num_heads,
        "transformer_ff": shape.ffn_width,
        "mlp_activation_fn": "relu",
        "layer_norm": "standard",
        "add_qkvbias": True,
        "add_final_linear_bias": True,
        "add_ffnbias": True,
        "share_embeddings": True,
        "share_decoder_embeddings": True,
        "embeddings": {
            "word_vec_size": shape.width,
            "position_encoding_type": "SinusoidalInterleaved",
        },
    }


def make(settings: Settings) -> EoleTrainer:
    """The contestant."""
    return EoleTrainer(settings)
