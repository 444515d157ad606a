"""CTranslate2 as a contestant: our weights in its format, decoded by its translator. Run by its own environment.

python -m benchmarks.decoding.ctranslate2_arm FOLDER --type float32 --threads 1 --batch 2048 --name NAME
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from ctranslate2.specs import common_spec, transformer_spec

from benchmarks.decoding.exchange import Job, Pieces, Weights, read_weights
from benchmarks.harness.serving import serve


def export(folder: Path, output: Path) -> None:
    """Write a post-norm Transformer with one table of embeddings as a CTranslate2 model."""
    job, weights = Job.load(folder), read_weights(folder)
    spec = transformer_spec.TransformerSpec.from_config(job.num_layers, job.num_heads, pre_norm=False)
    for stack, side, table in (
        (spec.encoder, "encoder", spec.encoder.embeddings[0]),
        (spec.decoder, "decoder", spec.decoder.embeddings),
    ):
        table.weight = weights["target_embedding.weight"]
        stack.scale_embeddings = True
        stack.position_encodings.encodings = weights[f"{side}_positions"]
        for number, layer in enumerate(stack.layer):
            _set_layer(layer, weights, f"{side}.layers.{number}")
    spec.decoder.projection.weight = weights["target_embedding.weight"]
    spec.config.decoder_start_token = spec.config.eos_token
    spec.config.add_source_eos = True
    spec.register_source_vocabulary(job.symbols)
    spec.register_target_vocabulary(job.symbols)
    spec.validate()
    spec.optimize()
    output.mkdir(exist_ok=True)
    spec.save(str(output))


def _set_layer(layer: Any, weights: Weights, name: str) -> None:
    own = layer.self_attention
    _set_linear(own.linear[0], weights, f"{name}.self_attention.query_key_value")
    _set_linear(own.linear[1], weights, f"{name}.self_attention.output")
    _set_norm(own.layer_norm, weights, f"{name}.self_attention_norm")
    if f"{name}.cross_attention.query.weight" in weights:
        _set_linear(layer.attention.linear[0], weights, f"{name}.cross_attention.query")
        _set_linear(layer.attention.linear[1], weights, f"{name}.cross_attention.key_value")
        _set_linear(layer.attention.linear[2], weights, f"{name}.cross_attention.output")
        _set_norm(layer.attention.layer_norm, weights, f"{name}.cross_attention_norm")
    _set_linear(layer.ffn.linear_0, weights, f"{name}.feed_forward.inner")
    _set_linear(layer.ffn.linear_1, weights, f"{name}.feed_forward.outer")
    _set_norm(layer.ffn.layer_norm, weights, f"{name}.feed_forward_norm")


def _set_linear(spec: common_spec.LinearSpec, weights: Weights, name: str) -> None:
    spec.weight, spec.bias = weights[f"{name}.weight"], weights[f"{name}.bias"]


def _set_norm(spec: common_spec.LayerNormSpec, weights: Weights, name: str) -> None:
    spec.gamma, spec.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]


def main() -> None:
    """Decode pieces of the test set, as often as is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--type", dest="compute_type", choices=["float32", "int8"], default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--inter-threads", type=int, default=1, help="batches that are decoded side by side")
    parser.add_argument("--batch", type=int, required=True, help="the size of a batch, in source tokens with padding")
    parser.add_argument("--pieces", type=int, default=1, help="of the test set: one is decoded at a time")
    parser.add_argument("--name", required=True)
    arguments = parser.parse_args()
    job = Job.load(arguments.folder)
    model = arguments.folder / "ctranslate2"
    if not (model / "model.bin").is_file():
        export(arguments.folder, model)
    translator = ctranslate2.Translator(
        str(model),
        device="cpu",
        compute_type=arguments.compute_type,
        inter_threads=arguments.inter_threads,
        intra_threads=arguments.threads // arguments.inter_threads,
    )

    pieces = Pieces(arguments.folder, arguments.name, len(job.sources), arguments.pieces)
    sources = pieces.of(job.sources)

    def decode(number: int) -> float:
        piece = number % len(pieces)
        results = translator.translate_batch(
            sources[piece],
            beam_size=job.beam_size,
            length_penalty=job.length_penalty,
            max_decoding_length=job.max_length + 1,
            max_batch_size=arguments.batch,
            batch_type="tokens",
            return_end_token=True,
        )
        hypotheses = [result.hypotheses[0] for result in results]
        pieces.add(piece, [tokens[:-1] for tokens in hypotheses])
        return float(sum(map(len, hypotheses)))

    parameters = sum(int(np.prod(array.shape)) for name, array in read_weights(arguments.folder).items())
    serve(decode, {"version": ctranslate2.__version__, "parameters": parameters})


if __name__ == "__main__":
    main()
