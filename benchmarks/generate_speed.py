"""How fast seqtrain decodes: its cache against one that moves keys and values, and against none; paired rounds.

    python -m benchmarks.generate_speed --size tiny --beam 5 --rounds 9

The same search decodes the same sentences with the same random weights. Every hypothesis is made exactly `--length`
tokens long, so that all arms do the same work; in float32 they must write the same tokens, which is checked. In every
round the arms take turns, in an order that turns round from round to round; a round gives one ratio of the target
tokens (of the best hypotheses, the end symbol included) to the CPU seconds of the process, which are the seconds of the
clock where one thread has a core of its own. The result is the median of the ratios, with a bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.batches import NUM_TYPES, multi30k
from benchmarks.harness.contest import Block, Rounds
from benchmarks.harness.facts import machine
from benchmarks.harness.report import table
from seqtrain.config.root import GenerationConfig
from seqtrain.data.batch import Batch
from seqtrain.data.batching import sort_by_length
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.generation.generator import Hypothesis, SequenceGenerator
from seqtrain.models.base import DecoderCache, EncoderDecoderModel
from seqtrain.models.schema import ModelConfig
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.transformer.model import Transformer
from seqtrain.nn.cache import TransformerCache
from seqtrain.testing.fakes import TinyTask

SIZES = {
    "tiny": {"layers": 4, "embed_dim": 128, "ffn_embed_dim": 256, "attention_heads": 4},
    "base": {"layers": 6, "embed_dim": 512, "ffn_embed_dim": 2048, "attention_heads": 8},
}


class ReorderingCache(TransformerCache):
    """The usual cache: each hypothesis owns its keys and values, which are concatenated and gathered at each step.

    Each hypothesis is a sentence to the decoder; the memory is laid out once for each of them.
    """

    def __init__(self, num_layers: int, batch_size: int, beam_size: int) -> None:
        super().__init__(num_layers, batch_size * beam_size, 1)
        self.rows_per_sentence = beam_size
        self.layers: list[tuple[Tensor, Tensor] | None] = [None] * num_layers

    def start_step(self, device: torch.device) -> None:
        """No slots are kept."""
        self.num_steps += 1

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, 1, d) -> (N, H, t, d)."""
        kept = self.layers[layer]
        if kept is not None:
            key, value = torch.cat([kept[0], key], dim=2), torch.cat([kept[1], value], dim=2)
        self.layers[layer] = key, value
        return key, value

    def reorder(self, parents: Tensor) -> None:
        """Gather all keys and values."""
        self.layers = [None if kept is None else (kept[0][parents], kept[1][parents]) for kept in self.layers]

    def keep(self, sentences: Tensor) -> None:
        """Gather those of some sentences."""
        rows = (sentences[:, None] * self.rows_per_sentence + torch.arange(self.rows_per_sentence)).flatten()
        self.reorder(rows)
        super().keep(rows)


class ReorderingTransformer(Transformer):
    """The same Transformer with the usual cache."""

    def init_cache(self, encoded: Any, beam_size: int) -> DecoderCache:
        """See `EncoderDecoderModel`."""
        shared = super().init_cache(encoded, beam_size)
        assert isinstance(shared, TransformerCache)
        assert shared.memory is not None
        cache = ReorderingCache(len(self.decoder.layers), shared.batch_size, beam_size)
        cache.memory = [
            (key.repeat_interleave(beam_size, dim=0), value.repeat_interleave(beam_size, dim=0))
            for key, value in shared.memory
        ]
        if shared.memory_bias is not None:
            cache.memory_bias = shared.memory_bias.repeat_interleave(beam_size, dim=0)
        return cache


class RecomputingTransformer(EncoderDecoderModel):
    """The same Transformer as a plug-in that defines `forward` alone."""

    def __init__(self, model: Transformer, task: TinyTask) -> None:
        super().__init__(ModelConfig(), task)
        self.model = model

    def forward(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        """See `EncoderDecoderModel`."""
        logits: Tensor = self.model(source_tokens, source_lengths, previous_tokens)
        return logits


def make_models(size: str) -> tuple[TinyTask, dict[str, EncoderDecoderModel]]:
    """One Transformer with random weights, behind each kind of cache."""
    task = TinyTask()
    task.source_vocabulary = task.target_vocabulary = Vocabulary(f"type{number}" for number in range(4, NUM_TYPES))
    fields: dict[str, Any] = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in SIZES[size].items()}
    config = TransformerConfig(share_all_embeddings=True, **fields)
    torch.manual_seed(1)
    model, reordering = Transformer(config, task), ReorderingTransformer(config, task)
    reordering.load_state_dict(model.state_dict())
    recomputing = RecomputingTransformer(model, task)
    return task, {"recompute": recomputing, "reorder": reordering, "ancestry": model}


def make_batches(num_sentences: int, batch_size: int) -> tuple[list[Batch], str]:
    """Multi30k sources, by length."""
    dataset, origin = multi30k()
    order = sort_by_length(dataset.lengths[:num_sentences], np.arange(num_sentences, dtype=np.uint32)).astype(np.int64)
    starts = range(0, num_sentences, batch_size)
    return [dataset.collate(order[start : start + batch_size]) for start in starts], origin


class Arm:
    """A contestant: a model that decodes batches."""

    def __init__(self, name: str, generator: SequenceGenerator, dtype: torch.dtype) -> None:
        self.name = name
        self.generator = generator
        self.dtype = dtype

    def run(self, batches: Sequence[Batch]) -> tuple[Block, list[list[Hypothesis]]]:
        """Decode; the target tokens and how long they took, and what was written."""
        written = []
        start, processor_start = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.dtype is torch.bfloat16):
            for batch in batches:
                written += self.generator.generate(batch)
        seconds, processor_seconds = time.perf_counter() - start, time.process_time() - processor_start
        return Block(seconds, processor_seconds, sum(len(hypotheses[0].tokens) for hypotheses in written)), written


def measure(arms: Sequence[Arm], batches: Sequence[Batch], num_rounds: int) -> Rounds:
    """The blocks of each arm in each round, after one that does not count."""
    texts = {arm.name: [one[0].tokens.tolist() for one in arm.run(batches)[1]] for arm in arms}
    first = next(iter(texts.values()))
    for arm in arms:
        same = sum(ours == theirs for ours, theirs in zip(texts[arm.name], first, strict=True))
        assert arm.dtype is not torch.float32 or same == len(first), f"{arm.name} wrote other texts"
    blocks: dict[str, list[Block]] = {arm.name: [] for arm in arms}
    for number in range(num_rounds):
        for arm in arms if number % 2 == 0 else reversed(arms):
            blocks[arm.name].append(arm.run(batches)[0])
    return Rounds(blocks, "cpu")


def main() -> None:
    """Run all arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="tiny")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--length", type=int, default=20, help="tokens of each hypothesis, the end symbol included")
    parser.add_argument("--sentences", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64, help="sentences of a batch")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--arms", nargs="+", default=["reorder", "recompute", "ancestry"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task, models = make_models(arguments.size)
    steps = arguments.length - 1
    config = GenerationConfig(beam_size=arguments.beam, min_len=max(1, steps), max_len_b=steps)
    dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    vocabulary = task.target_vocabulary
    arms = [Arm(name, SequenceGenerator([models[name]], vocabulary, config), dtype) for name in arguments.arms]
    batches, origin = make_batches(arguments.sentences, arguments.batch)
    rounds = measure(arms, batches, arguments.rounds)
    print(json.dumps({**machine(), "data": origin, **vars(arguments)}))
    print(table(rounds, arguments.arms[0], unit="target tokens"))


if __name__ == "__main__":
    main()
