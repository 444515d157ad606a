"""JoeyNMT as a contestant: our weights in its model, decoded by its search. Run by its own environment.

python -m benchmarks.decoding.joeynmt_arm FOLDER --threads 1 --batch 1024 --name joeynmt
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from joeynmt.batch import Batch
from joeynmt.model import build_model
from joeynmt.search import search
from joeynmt.vocabulary import Vocabulary
from torch import Tensor, nn

from benchmarks.decoding.exchange import Job, Pieces, Weights, read_weights
from benchmarks.harness.serving import serve

UNK, PAD, BOS, EOS = range(4)  # its numbers of the special symbols
OURS = [3, 1, 0, 2]  # the same symbols by our numbers
EPSILON = 1e-5  # of our layer norms


def make_model(job: Job, weights: Weights) -> Any:
    """Its model with our parameters and positions.

    Our searches begin with the end symbol, its with a symbol that is never written: that one's row in the target table
    is the end symbol's, so that the table cannot be the output layer too.
    """
    table = weights["target_embedding.weight"]
    table = np.concatenate([table[OURS], table[4:]])
    vocabulary = make_vocabulary(job.symbols)
    width = table.shape[1]
    sizes = {
        "type": "transformer",
        "num_layers": job.num_layers,
        "num_heads": job.num_heads,
        "hidden_size": width,
        "ff_size": len(weights["encoder.layers.0.feed_forward.inner.weight"]),
        "embeddings": {"embedding_dim": width, "scale": True},
        "layer_norm": "post",
    }
    model: Any = build_model({"encoder": sizes, "decoder": sizes}, vocabulary, vocabulary)
    for side, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
        stack.pe.pe = torch.from_numpy(weights[f"{side}_positions"])[None]
        for number, layer in enumerate(stack.layers):
            _fill_layer(layer, weights, f"{side}.layers.{number}")
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = EPSILON
    starting = table.copy()
    starting[BOS] = table[EOS]
    for tensor, values in (
        (model.src_embed.lut.weight, table),
        (model.trg_embed.lut.weight, starting),
        (model.decoder.output_layer.weight, table),
    ):
        tensor.data.copy_(torch.from_numpy(values))
    return model.eval()


def make_vocabulary(symbols: list[str]) -> Vocabulary:
    """Our symbols with its numbers."""
    specials = {"unk": "<unk>", "pad": "<pad>", "bos": "<s>", "eos": "</s>"}  # numbered in this order
    numbers = {f"{name}_id": number for number, name in enumerate(specials)}
    tokens = {f"{name}_token": symbol for name, symbol in specials.items()}
    return Vocabulary(symbols[4:], SimpleNamespace(sep_token=None, lang_tags=[], **numbers, **tokens))


def _fill_layer(layer: Any, weights: Weights, name: str) -> None:
    crosses = f"{name}.cross_attention.query.weight" in weights
    own = layer.trg_trg_att if crosses else layer.src_src_att
    _fill([own.q_layer, own.k_layer, own.v_layer], weights, f"{name}.self_attention.query_key_value")
    _fill([own.output_layer], weights, f"{name}.self_attention.output")
    _fill([layer.x_layer_norm if crosses else layer.layer_norm], weights, f"{name}.self_attention_norm")
    if crosses:
        other = layer.src_trg_att
        _fill([other.q_layer], weights, f"{name}.cross_attention.query")
        _fill([other.k_layer, other.v_layer], weights, f"{name}.cross_attention.key_value")
        _fill([other.output_layer], weights, f"{name}.cross_attention.output")
        _fill([layer.dec_layer_norm], weights, f"{name}.cross_attention_norm")
    _fill([layer.feed_forward.pwff_layer[0]], weights, f"{name}.feed_forward.inner")
    _fill([layer.feed_forward.pwff_layer[3]], weights, f"{name}.feed_forward.outer")
    _fill([layer.feed_forward.layer_norm], weights, f"{name}.feed_forward_norm")


def _fill(modules: list[Any], weights: Weights, name: str) -> None:
    """Put a weight and its bias, cut into equal parts, into modules."""
    for kind in ("weight", "bias"):
        parts = np.split(weights[f"{name}.{kind}"], len(modules))
        for module, part in zip(modules, parts, strict=True):
            getattr(module, kind).data.copy_(torch.from_numpy(part))


def make_batches(rows: list[list[int]], max_tokens: int) -> Iterator[Batch]:
    """The sources, which are sorted by their lengths, in batches of so many tokens with padding."""
    first = 0
    while first < len(rows):
        last = first + 1
        while last < len(rows) and (last + 1 - first) * len(rows[last]) <= max_tokens:
            last += 1
        yield _collate(rows[first:last])
        first = last


def _collate(rows: list[list[int]]) -> Batch:
    length = max(map(len, rows))
    return Batch(
        src=torch.tensor([row + [PAD] * (length - len(row)) for row in rows]),
        src_length=torch.tensor([len(row) for row in rows]),
        src_prompt_mask=None,
        trg=None,
        trg_prompt_mask=None,
        indices=torch.arange(len(rows)),
        device=torch.device("cpu"),
        pad_index=PAD,
        eos_index=EOS,
    )


def main() -> None:
    """Decode pieces of the test set, as often as is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, required=True, help="source tokens of a batch, with padding")
    parser.add_argument("--pieces", type=int, default=1, help="of the test set: one is decoded at a time")
    parser.add_argument("--name", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    job = Job.load(arguments.folder)
    model = make_model(job, read_weights(arguments.folder))
    autocast = {"device_type": "cpu", "enabled": arguments.precision == "bf16", "dtype": torch.bfloat16}

    numbers = {symbol: model.trg_vocab.lookup(symbol) for symbol in job.symbols}
    pieces = Pieces(arguments.folder, arguments.name, len(job.sources), arguments.pieces)
    rows = pieces.of([[*(numbers.get(symbol, UNK) for symbol in source), EOS] for source in job.sources])

    def decode(number: int) -> float:
        piece = number % len(pieces)
        hypotheses: list[list[str]] = []
        num_tokens = 0
        for batch in make_batches(rows[piece], arguments.batch):
            output, _, _ = search(
                model,
                batch,
                max_output_length=job.max_length + 1,
                beam_size=job.beam_size,
                beam_alpha=job.length_penalty,
                autocast=autocast,
            )
            for tokens in _ended(output):
                num_tokens += len(tokens) + 1
                hypotheses.append([model.trg_vocab._itos[token] for token in tokens])
        pieces.add(piece, hypotheses)
        return float(num_tokens)

    parameters = sum(tensor.numel() for tensor in model.parameters())
    serve(decode, {"version": version("joeynmt"), "torch": torch.__version__, "parameters": parameters})


def _ended(output: Tensor) -> Iterator[list[int]]:
    """The tokens of each hypothesis before its end."""
    for row in output.tolist():
        yield row[: row.index(EOS)] if EOS in row else [token for token in row if token != PAD]


if __name__ == "__main__":
    main()
