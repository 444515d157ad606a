"""The whole search, against lattices drawn by hand and a search written in plain Python."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqtrain.config.root import GenerationConfig
from seqtrain.data.batch import Batch
from seqtrain.generation.beam_search import BeamSearch
from seqtrain.generation.decoder import ModelDecoder
from seqtrain.generation.generator import Hypothesis, SequenceGenerator
from seqtrain.generation.search import Search, Start
from seqtrain.models.base import EncoderDecoderModel
from seqtrain.testing.fakes import collate
from tests.unit.generation.fakes import Lattice, LatticeModel, LetterTask, RandomModel
from tests.unit.generation.reference import EOS, Settings, beam_search

TASK = LetterTask(num_letters=26)
NUM_SYMBOLS = len(TASK.target_vocabulary)

# the start is the end symbol; by itself a is likelier than b, but b nearly always ends
MISLEADING: Lattice = {
    "</s>": {"a": 0.6, "b": 0.4},
    "a": {"c": 0.55, "</s>": 0.45},
    "b": {"</s>": 0.9, "c": 0.1},
    "c": {"</s>": 0.9, "c": 0.1},
}


def generate(model: EncoderDecoderModel, batch: Batch | None = None, **options: Any) -> list[list[Hypothesis]]:
    config = GenerationConfig(**{"nbest": options.get("beam_size", 5), "max_len_b": 10, **options})
    generator = SequenceGenerator([model], TASK.target_vocabulary, config)
    return generator.generate(collate([([4, EOS], [EOS])]) if batch is None else batch)


def texts(hypotheses: list[Hypothesis]) -> list[str]:
    return [TASK.decode(hypothesis.tokens.numpy()) for hypothesis in hypotheses]


def test_greedy_search_takes_the_likeliest_step_each_time() -> None:
    (found,) = generate(LatticeModel(MISLEADING, TASK), beam_size=1)[0]
    assert texts([found]) == ["ac"]
    assert found.score == pytest.approx(math.log(0.6 * 0.55 * 0.9) / 3, abs=1e-6)
    expected = torch.tensor([0.6, 0.55, 0.9]).log()
    torch.testing.assert_close(found.positional_scores, expected)


def test_a_beam_finds_the_likeliest_whole() -> None:
    found = generate(LatticeModel(MISLEADING, TASK), beam_size=2, normalize_scores=False)[0]
    assert texts(found) == ["b", "ac"]
    assert found[0].score == pytest.approx(math.log(0.4 * 0.9), abs=1e-6)


def test_the_length_penalty_decides_between_a_short_and_a_long_one() -> None:
    model = LatticeModel(MISLEADING, TASK)
    assert texts(generate(model, beam_size=2, length_penalty=0.0)[0])[0] == "b"
    assert texts(generate(model, beam_size=2, length_penalty=1.0)[0])[0] == "ac"


def test_with_room_for_all_every_sequence_is_found_with_its_probability() -> None:
    probabilities = {"a": 0.5, "b": 0.3, "</s>": 0.2}
    model = LatticeModel({"</s>": probabilities, "a": probabilities, "b": probabilities}, TASK)
    found = generate(model, beam_size=29, max_len_b=3, normalize_scores=False)[0]
    expected = {}
    for length in (1, 2, 3):
        for letters in itertools.product("ab", repeat=length):
            # the end is forced at the greatest length, but costs what it costs
            expected["".join(letters)] = math.prod([*(probabilities[letter] for letter in letters), 0.2])
    assert set(texts(found)) == set(expected)
    for text, hypothesis in zip(texts(found), found, strict=True):
        assert hypothesis.score == pytest.approx(math.log(expected[text]), abs=1e-5)
    assert [hypothesis.score for hypothesis in found] == sorted((one.score for one in found), reverse=True)


def test_the_greatest_length_comes_from_the_sentences_own_source() -> None:
    model = LatticeModel({"</s>": {"a": 1.0}, "a": {"a": 0.999, "</s>": 0.001}}, TASK)
    batch = collate([([4, EOS], [EOS]), ([4, 4, 4, 4, EOS], [EOS])])
    found = generate(model, batch, beam_size=1, max_len_a=1.5, max_len_b=1)
    assert [len(hypotheses[0].tokens) for hypotheses in found] == [int(1.5 * 2 + 1) + 1, int(1.5 * 5 + 1) + 1]


def test_the_greatest_length_is_bounded_by_the_models_positions() -> None:
    model = RandomModel(TASK, seed=1, max_positions=(64, 5))
    found = generate(model, beam_size=3, max_len_b=50, min_len=50)[0]
    assert {len(hypothesis.tokens) for hypothesis in found} == {5}


def test_a_hypothesis_has_at_least_min_len_tokens_before_the_end() -> None:
    model = LatticeModel(MISLEADING, TASK)
    assert min(map(len, texts(generate(model, beam_size=2, min_len=3)[0]))) == 3


def test_the_unknown_symbol_can_be_made_dearer() -> None:
    model = LatticeModel({"</s>": {"<unk>": 0.6, "a": 0.4}}, TASK)
    (found,) = generate(model, beam_size=1, unk_penalty=1.0)[0]
    assert texts([found]) == ["a"]
    found = generate(model, beam_size=2, unk_penalty=1.0, normalize_scores=False)[0][1]
    assert found.score == pytest.approx(math.log(0.6) - 1, abs=1e-6)


def test_temperature_divides_the_logits() -> None:
    model = LatticeModel({"</s>": {"a": 0.8, "b": 0.2}}, TASK)
    (found,) = generate(model, beam_size=1, temperature=2.0, normalize_scores=False)[0]
    assert found.score == pytest.approx(math.log(0.8**0.5 / (0.8**0.5 + 0.2**0.5)), abs=1e-6)


def test_no_ngram_is_repeated() -> None:
    model = LatticeModel({"</s>": {"a": 1.0}, "a": {"b": 0.9, "a": 0.1}, "b": {"a": 0.9, "</s>": 0.1}}, TASK)
    assert texts(generate(model, beam_size=1, max_len_b=6)[0]) == ["ababab"]
    # ab, ba, then a can only be followed by a, aa by nothing but an end that has probability 0
    assert texts(generate(model, beam_size=2, max_len_b=6, no_repeat_ngram_size=2)[0])[0] == "ab"


def test_a_prefix_is_forced_and_its_probability_counts() -> None:
    batch = collate([([4, EOS], [TASK.target_vocabulary.index("b"), TASK.target_vocabulary.index("c"), EOS])])
    found = generate(LatticeModel(MISLEADING, TASK), batch, beam_size=1, prefix_size=2, normalize_scores=False)[0]
    assert texts(found) == ["bc"]
    assert found[0].score == pytest.approx(math.log(0.4 * 0.1 * 0.9), abs=1e-5)


def test_a_prefix_that_ends_is_the_whole_hypothesis() -> None:
    batch = collate([([4, EOS], [TASK.target_vocabulary.index("a"), EOS]), ([4, EOS], [4, 5, 6, 7, EOS])])
    found = generate(RandomModel(TASK, seed=2), batch, beam_size=3, prefix_size=3)
    assert texts(found[0]) == ["a", "a", "a"]
    assert {text[:3] for text in texts(found[1])} == {"abc"}


def test_a_prefix_longer_than_the_greatest_length_is_cut() -> None:
    batch = collate([([4, EOS], [4, 5, 6, 7, EOS])])
    found = generate(RandomModel(TASK, seed=2), batch, beam_size=3, prefix_size=4, max_len_b=2)
    assert texts(found[0]) == ["ab"]


def test_the_beam_is_never_wider_than_the_choice_of_a_first_token() -> None:
    found = generate(RandomModel(TASK, seed=3), beam_size=100, max_len_b=1)[0]
    assert len(found) <= NUM_SYMBOLS - 1
    assert len(set(texts(found))) == len(found)


@pytest.mark.parametrize("poll_interval", [3, 8, 100])
def test_it_makes_no_difference_how_often_the_host_asks_who_is_done(poll_interval: int) -> None:
    sources = [[4 + length] * length + [EOS] for length in (1, 5, 2, 9, 3, 7, 4, 6, 8)]
    batch = collate([(source, [EOS]) for source in sources])
    model = RandomModel(TASK, seed=1).eval()
    generator = SequenceGenerator(
        [model], TASK.target_vocabulary, GenerationConfig(beam_size=3, nbest=3, max_len_a=1.0, max_len_b=2)
    )
    assert batch.source_tokens is not None
    assert batch.source_lengths is not None
    cache = model.init_cache(model.encode(batch.source_tokens, batch.source_lengths), 3)
    start = Start(
        ids=batch.ids,
        tokens=torch.full((9, 1), EOS),
        lengths=torch.ones(9, dtype=torch.long),
        origins=torch.zeros(9, dtype=torch.long),
        max_lengths=batch.source_lengths + 2,
    )
    search = Search(ModelDecoder(model, cache), BeamSearch(EOS, 3), rules=generator.rules, start=start, beam_size=3)
    search.poll_interval = poll_interval
    with torch.no_grad():
        found = search.run()
    for ours, theirs in zip(found, generator.generate(batch), strict=True):
        assert [one.tokens.tolist() for one in ours] == [one.tokens.tolist() for one in theirs]
        assert [one.score for one in ours] == pytest.approx([one.score for one in theirs], abs=1e-5)


def test_contradictory_rules_leave_no_hypothesis_and_raise_nothing() -> None:
    model = LatticeModel({"</s>": {"a": 1.0}, "a": {"a": 1.0}}, TASK)
    assert generate(model, beam_size=2, max_len_b=3) == [[]]


@pytest.mark.parametrize("sampling", [False, True])
def test_a_model_that_has_diverged_writes_something_of_bounded_length_and_no_score(sampling: bool) -> None:
    model = RandomModel(TASK, seed=1)
    torch.nn.init.constant_(model.output, math.nan)
    for hypothesis in generate(model, beam_size=3, max_len_b=5, sampling=sampling)[0]:
        assert len(hypothesis.tokens) <= 6
        assert math.isnan(hypothesis.score)


OPTIONS = st.fixed_dictionaries(
    {
        "beam_size": st.integers(1, 6),
        "length_penalty": st.sampled_from([0.0, 0.6, 1.0, 2.0]),
        "min_len": st.integers(1, 4),
        "unk_penalty": st.sampled_from([0.0, 1.5]),
        "no_repeat_ngram_size": st.integers(0, 3),
        "prefix_size": st.integers(0, 3),
        "max_len_b": st.integers(0, 6),
    }
)


@settings(max_examples=60, deadline=None)
@given(OPTIONS, st.integers(0, 10_000))
def test_the_search_finds_what_a_plain_one_finds(options: dict[str, Any], seed: int) -> None:
    task = LetterTask(num_letters=5)
    model = RandomModel(task, seed=seed).eval()
    generator = torch.Generator().manual_seed(seed)
    lengths = [1, 3, 2]
    sources = [[*torch.randint(4, 9, (length,), generator=generator).tolist(), EOS] for length in lengths]
    targets = [[*torch.randint(4, 9, (length,), generator=generator).tolist(), EOS] for length in lengths]
    config = GenerationConfig(nbest=options["beam_size"], max_len_a=0.5, **options)
    found = SequenceGenerator([model], task.target_vocabulary, config).generate(
        collate(list(zip(sources, targets, strict=True)))
    )
    for source, target, hypotheses in zip(sources, targets, found, strict=True):

        def next_log_probs(text: tuple[int, ...], source: list[int] = source) -> list[float]:
            with torch.no_grad():
                logits = model(torch.tensor([source]), torch.tensor([len(source)]), torch.tensor([[EOS, *text]]))
            log_probs: list[float] = logits[0, -1].log_softmax(dim=0).tolist()
            return log_probs

        expected = beam_search(
            next_log_probs,
            Settings(
                beam_size=options["beam_size"],
                max_len=int(0.5 * len(source) + options["max_len_b"]),
                min_len=options["min_len"],
                length_penalty=options["length_penalty"],
                unk_penalty=options["unk_penalty"],
                no_repeat_ngram_size=options["no_repeat_ngram_size"],
                prefix=tuple(target[: options["prefix_size"]]),
            ),
        )
        is_prefix_whole = EOS in target[: options["prefix_size"]]
        ours = [(tuple(hypothesis.tokens.tolist()), hypothesis.score) for hypothesis in hypotheses]
        # a prefix that ends fills all places with one text
        assert [text for text, _ in ours] == [text for text, _ in expected] * (len(ours) if is_prefix_whole else 1)
        assert [score for _, score in ours] == pytest.approx(
            [score for _, score in expected] * (len(ours) if is_prefix_whole else 1), abs=1e-4
        )
