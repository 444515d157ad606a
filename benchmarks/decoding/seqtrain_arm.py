"""seqtrain as a contestant: its search, from the tokens of the sources to the tokens of the best hypotheses.

python -m benchmarks.decoding.seqtrain_arm FOLDER --precision bf16 --quantization int8 --threads 1 --batch 4096
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

import seqtrain
from benchmarks.decoding.exchange import Job, Pieces
from benchmarks.decoding.reordering import ReorderingTransformer
from benchmarks.harness.serving import serve
from seqtrain.assemble.trained import load_generator
from seqtrain.config.root import BatchingConfig, GenerationConfig, Precision, Quantization, RuntimeConfig
from seqtrain.data.pairs import PairDataset
from seqtrain.models.transformer.model import Transformer


def main() -> None:
    """Decode pieces of the test set, as often as is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--quantization", choices=["none", "int8"], default="none")
    parser.add_argument("--compile", action="store_true", help="kernels that the machine's compiler makes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, required=True, help="batching.max_tokens")
    parser.add_argument("--reorder", action="store_true", help="a cache that moves keys and values")
    parser.add_argument("--pieces", type=int, default=1, help="of the test set: one is decoded at a time")
    parser.add_argument("--name", required=True)
    arguments = parser.parse_args()
    job = Job.load(arguments.folder)
    settings: dict[str, Any] = {"beam_size": job.beam_size, "max_len_b": job.max_length}
    generator = load_generator(
        [Path(job.checkpoint)],
        generation=GenerationConfig(
            length_penalty=job.length_penalty,
            quantization=Quantization(arguments.quantization),
            compile=arguments.compile,
            **settings,
        ),
        batching=BatchingConfig(max_tokens=arguments.batch),
        runtime=RuntimeConfig(precision=Precision(arguments.precision), num_threads=arguments.threads),
    )
    if arguments.reorder:
        (model,) = generator.models
        assert isinstance(model, Transformer)
        model.__class__ = ReorderingTransformer
    vocabulary = generator.task.target_vocabulary
    pieces = Pieces(arguments.folder, arguments.name, len(job.sources), arguments.pieces)
    datasets = [
        PairDataset.from_lists(
            [vocabulary.encode(symbols) for symbols in sources], [np.array([vocabulary.eos])] * len(sources)
        )
        for sources in pieces.of(job.sources)
    ]

    def decode(number: int) -> float:
        piece = number % len(pieces)
        best = [hypotheses[0].tokens for hypotheses in generator.generate_dataset(datasets[piece])]
        symbols = [[vocabulary.symbol(token) for token in tokens.tolist()] for tokens in best]
        pieces.add(piece, [line[:-1] for line in symbols])
        return float(sum(map(len, symbols)))

    parameters = sum(parameter.numel() for parameter in generator.models[0].parameters())
    serve(decode, {"version": seqtrain.__version__, "torch": torch.__version__, "parameters": parameters})


if __name__ == "__main__":
    main()
