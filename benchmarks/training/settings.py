"""What every contestant is told: the model's shape, the precision, the device, the batches.

Nothing here needs more than Python and numpy, for the environments of the peers read it too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

BOS, PAD, EOS = 0, 1, 2  # seqtrain's numbers of the special symbols, as fairseq's

Precision = Literal["fp32", "bf16"]
Form = Literal["padded", "packed-sdpa", "packed-varlen"]


@dataclass(frozen=True)
class Shape:
    """The sizes of a model. All tables are one: sources, targets, output layer.

    Attributes:
        num_types: Of the vocabulary.
        max_length: Tokens of a row at most; the number of learned positions of a decoder-only model.
    """

    name: str
    num_layers: int
    width: int
    ffn_width: int
    num_heads: int
    num_types: int
    dropout: float = 0.3
    smoothing: float = 0.1
    is_decoder_only: bool = False
    max_length: int = 1024

    @property
    def num_parameters(self) -> int:
        """Of a post-norm encoder-decoder with sinusoidal positions, or of a model as GPT-2's."""
        norm, attention = 2 * self.width, 4 * self.width * (self.width + 1)
        feed_forward = 2 * self.width * self.ffn_width + self.ffn_width + self.width
        decoder_only = attention + feed_forward + 2 * norm
        table = self.num_types * self.width
        if self.is_decoder_only:
            return table + self.max_length * self.width + self.num_layers * decoder_only + norm
        return table + self.num_layers * (2 * decoder_only + attention + norm)

    def flops(self, num_source: int, num_target: int, source_squares: int, target_squares: int, crossed: int) -> float:
        """Of an update on a batch: the matrix products alone, two for each pair of factors, thrice for the way back.

        Args:
            num_source: Source tokens, padding left out.
            num_target: Target tokens, padding left out.
            source_squares: The sum of the squares of the sources' lengths.
            target_squares: The same of the targets.
            crossed: The sum of the products of the two lengths.
        """
        layer = 8 * self.width**2 + 4 * self.width * self.ffn_width
        per_target = self.num_layers * layer + 2 * self.width * self.num_types
        attention = 4.0 * self.width * self.num_layers * target_squares
        if self.is_decoder_only:
            return 3 * (num_target * per_target + attention)
        cross = 4 * self.width**2 * self.num_layers
        attention += 4.0 * self.width * self.num_layers * (source_squares + crossed)
        return 3 * (num_target * (per_target + cross) + num_source * (self.num_layers * layer + cross) + attention)


@dataclass(frozen=True)
class Settings:
    """All that an arm is told.

    Attributes:
        arm: The module of `benchmarks.training.peers` that makes it.
        batches: The file of `token_batches.save`.
        device: "cpu" or "cuda".
        is_compiled: Whether it may use torch.compile.
        form: Of seqtrain's batches, and what computes its attention then.
    """

    arm: str
    shape: Shape
    precision: Precision
    batches: str
    num_threads: int = 2
    device: str = "cpu"
    is_compiled: bool = False
    form: Form = "padded"
    clip_norm: float = 25.0
    learning_rate: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.98)
    seed: int = 1

    def to_text(self) -> str:
        """As one word of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Settings:
        """What `to_text` wrote."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "shape": Shape(**fields["shape"]), "betas": tuple(fields["betas"])})


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("smoke", num_layers=1, width=16, ffn_width=32, num_heads=2, num_types=500, max_length=256),
        Shape("lm-smoke", 1, 16, 32, 2, 500, smoothing=0.0, is_decoder_only=True, max_length=8),
        Shape("tiny-128", num_layers=4, width=128, ffn_width=256, num_heads=4, num_types=9_712),
        Shape("tiny-256", num_layers=4, width=256, ffn_width=1024, num_heads=4, num_types=9_712),
        Shape("base", num_layers=6, width=512, ffn_width=2048, num_heads=8, num_types=37_000, dropout=0.1),
        Shape("big", num_layers=6, width=1024, ffn_width=4096, num_heads=16, num_types=37_000),
        Shape("lm-128", 4, 128, 512, 4, 9_712, dropout=0.1, smoothing=0.0, is_decoder_only=True, max_length=128),
        Shape("lm-256", 4, 256, 1024, 4, 9_712, dropout=0.1, smoothing=0.0, is_decoder_only=True, max_length=128),
        Shape("gpt2", 12, 768, 3072, 12, 50_304, dropout=0.0, smoothing=0.0, is_decoder_only=True),
    )
}
