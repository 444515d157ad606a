"""Generation against fairseq's: the same model, the same sources, every hypothesis of every case."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from seqtrain.config.root import GenerationConfig
from seqtrain.data.pairs import PairDataset
from seqtrain.generation.generator import Generator, Hypothesis, Scorer, SequenceGenerator
from seqtrain.models.transformer.model import Transformer
from seqtrain.models.transformer.schema import TransformerConfig
from seqtrain.testing.fakes import TinyTask
from tests.golden.fairseq_weights import our_state_dict
from tests.shared import shared

FOLDER = shared("golden/fairseq/generation")
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
CASES = [name for name in EXPECTED["cases"] if name != "score_reference"]
TOLERANCE = 1e-4  # of the golden values' README
OUR_NAMES = {"len_penalty": "length_penalty", "prefix_tokens": "prefix_size"}


@dataclass
class NumberedVocabulary:
    """The golden tokens are numbers; no text is needed."""

    size: int
    bos: int = 0
    pad: int = 1
    eos: int = 2
    unk: int = 3
    fingerprint: str = "golden"

    def __len__(self) -> int:
        return self.size


@cache
def trained_model() -> Transformer:
    """The model that fairseq trained for 500 updates; see `checkpoint/` beside it."""
    weights = dict(np.load(FOLDER / "weights.npz"))
    task: Any = TinyTask()
    task.target_vocabulary = task.source_vocabulary = NumberedVocabulary(len(weights["decoder.embed_tokens.weight"]))
    sizes = {"layers": 2, "embed_dim": 32, "ffn_embed_dim": 64, "attention_heads": 4}
    fields: dict[str, Any] = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in sizes.items()}
    model = Transformer(TransformerConfig(share_all_embeddings=True, dropout=0.1, **fields), task)
    model.load_state_dict(our_state_dict(weights, set(model.state_dict())))
    return model


def generate(generator: Generator, batch_size: int) -> list[list[Hypothesis]]:
    dataset = PairDataset.from_lists(EXPECTED["source"], EXPECTED["reference"])
    starts = range(0, len(dataset), batch_size)
    batches = [np.arange(start, min(start + batch_size, len(dataset))) for start in starts]
    return [hypotheses for indices in batches for hypotheses in generator.generate(dataset.collate(indices))]


def check(found: list[list[Hypothesis]], case: str) -> None:
    expected = EXPECTED["cases"][case]["hypotheses"]
    assert [len(hypotheses) for hypotheses in found] == [len(hypotheses) for hypotheses in expected]
    pairs = [pair for ours, theirs in zip(found, expected, strict=True) for pair in zip(ours, theirs, strict=True)]
    for ours, theirs in pairs:
        assert ours.tokens.tolist() == theirs["tokens"]
        assert ours.score == pytest.approx(theirs["score"], abs=TOLERANCE)
        expected_scores = torch.tensor(theirs["positional_scores"])
        torch.testing.assert_close(ours.positional_scores, expected_scores, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("batch_size", [1, 5, 24])
@pytest.mark.parametrize("case", CASES)
def test_every_hypothesis_and_score_is_fairseqs(case: str, batch_size: int) -> None:
    settings = {OUR_NAMES.get(name, name): value for name, value in EXPECTED["cases"][case]["settings"].items()}
    config = GenerationConfig(nbest=settings["beam_size"], **settings)
    model = trained_model()
    check(generate(SequenceGenerator([model], model_vocabulary(), config), batch_size), case)


@pytest.mark.parametrize("batch_size", [1, 5, 24])
def test_the_scores_of_references_are_fairseqs(batch_size: int) -> None:
    check(generate(Scorer([trained_model()], model_vocabulary()), batch_size), "score_reference")


def model_vocabulary() -> Any:
    return NumberedVocabulary(trained_model().target_embedding.num_embeddings)
