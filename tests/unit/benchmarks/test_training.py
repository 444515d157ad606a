"""Shapes, batches and contestants of the training benchmark, at tiny sizes on the CPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.harness.claims import AGAIN
from benchmarks.harness.contest import Block, Rounds
from benchmarks.train import arms_table, make_claims, parse_options, run_contest
from benchmarks.training import token_batches
from benchmarks.training.contestants import ours_of, peers_of
from benchmarks.training.peers import plain_gpt, plain_transformer, seqtrain_model
from benchmarks.training.settings import EOS, PAD, SHAPES, Form, Precision, Settings, Shape
from benchmarks.training.token_batches import TokenBatch
from benchmarks.training.trainer import Trainer

PAIRS = TokenBatch(
    sources=[np.array([7, 8, EOS]), np.array([9, EOS])],
    targets=[np.array([5, EOS]), np.array([6, 7, 8, EOS])],
)
MAKERS: dict[str, tuple[Callable[[Settings], Trainer[Any]], str]] = {
    "seqtrain": (seqtrain_model.make, "smoke"),
    "seqtrain, language model": (seqtrain_model.make, "lm-smoke"),
    "torch.nn.Transformer": (plain_transformer.make, "smoke"),
    "GPT-2 loop": (plain_gpt.make, "lm-smoke"),
}


def smoke_settings(shape: str, precision: Precision = "fp32") -> Settings:
    return Settings("", SHAPES[shape], precision, "", num_threads=1)


def make_trainer(name: str, precision: Precision = "fp32") -> Trainer[Any]:
    make, shape = MAKERS[name]
    return make(smoke_settings(shape, precision))


def test_the_size_of_gpt2_is_that_of_the_published_model() -> None:
    assert replace(SHAPES["gpt2"], num_types=50_257).num_parameters == 124_439_808


def test_the_flops_of_transformer_base_are_those_of_the_formula() -> None:
    # Forward, millions for each of 30 target tokens: encoder 6 (12 d^2 + 4 d f) with the keys and values of the
    # cross-attention, decoder the same, output layer 2 d V, attention 6 (4 + 4 + 4) 30 d. The way back is twice that.
    forward = 2 * 6 * (12 * 512**2 + 4 * 512 * 2048) + 2 * 512 * 37_000 + 6 * 12 * 30 * 512
    assert SHAPES["base"].flops(30, 30, 900, 900, 900) == pytest.approx(3 * 30 * forward)


def test_the_flops_of_gpt2_are_six_for_each_weight_and_token_and_those_of_attention() -> None:
    shape, length = SHAPES["gpt2"], 1024
    weights = 12 * 12 * 768**2 + 50_304 * 768
    expected = length * (6 * weights + 12 * 12 * 768 * length)
    assert shape.flops(0, length, 0, length**2, 0) == pytest.approx(expected)


def test_rows_are_padded_on_the_right() -> None:
    assert PAIRS.padded_sources().tolist() == [[7, 8, EOS], [9, EOS, PAD]]
    assert PAIRS.num_tokens == 6


def test_previous_tokens_are_the_targets_one_place_later() -> None:
    assert PAIRS.previous_tokens(EOS).tolist() == [[EOS, 5, PAD, PAD], [EOS, 6, 7, 8]]


@pytest.mark.parametrize("batches", [[PAIRS, PAIRS], [replace(PAIRS, sources=[])]])
def test_batches_come_back_from_their_file(batches: list[TokenBatch], tmp_path: Path) -> None:
    token_batches.save(tmp_path / "new" / "batches.npz", batches)
    loaded = token_batches.load(tmp_path / "new" / "batches.npz")
    assert [[row.tolist() for row in batch.targets] for batch in loaded] == [
        [row.tolist() for row in batch.targets] for batch in batches
    ]
    assert [len(batch.sources) for batch in loaded] == [len(batch.sources) for batch in batches]
    assert loaded[0].flops(SHAPES["smoke"]) == batches[0].flops(SHAPES["smoke"])


def test_random_pairs_fill_a_batch_and_no_more() -> None:
    batches = token_batches.random_pairs(6, 2_000, SHAPES["base"], seed=1)
    assert len(batches) == 6
    for batch in batches:
        assert 1_000 < batch.padded_targets().size <= 2_000
        numbers = np.concatenate([*batch.sources, *batch.targets])
        assert numbers.max() < 37_000
        assert not np.isin(numbers, [0, PAD]).any()


def test_random_rows_are_as_long_as_the_model_takes() -> None:
    (batch,) = token_batches.random_rows(1, 3, SHAPES["lm-smoke"], seed=1)
    assert batch.padded_targets().shape == (3, 8)


def test_settings_come_back_from_the_word_of_a_command() -> None:
    settings = replace(smoke_settings("smoke"), device="cuda", is_compiled=True)
    assert Settings.from_text(settings.to_text()) == settings


@pytest.mark.parametrize("name", MAKERS)
def test_every_model_has_the_parameters_of_its_shape(name: str) -> None:
    expected = SHAPES[MAKERS[name][1]].num_parameters
    # Norms after the last layer of each side, which other post-norm models lack; positions that are never used.
    more = {"torch.nn.Transformer": 2 * 2 * 16, "seqtrain, language model": 2 * 16}
    assert make_trainer(name).num_parameters == expected + more.get(name, 0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", MAKERS)
def test_updates_make_the_model_say_what_it_is_shown(name: str, precision: Precision) -> None:
    torch.manual_seed(1)
    trainer = make_trainer(name, precision)
    batch = PAIRS if trainer_has_sources(name) else replace(PAIRS, sources=[])
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    prepared = trainer.prepare(batch)
    for _ in range(3):
        trainer.update(prepared)
    changed = [not torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True)]
    assert sum(changed) > 0.8 * len(changed)  # the biases of keys have no gradient
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())


@pytest.mark.parametrize("form", ["packed-sdpa", "packed-varlen"])
def test_a_packed_plan_has_the_same_sentences_but_those_of_the_last_batch(form: Form) -> None:
    trainer = seqtrain_model.make(replace(smoke_settings("smoke"), form=form))
    batches = token_batches.random_pairs(4, 400, SHAPES["smoke"], seed=1)
    planned = trainer.plan(batches)
    before, after = ({row.tobytes() for batch in group for row in batch.targets} for group in (batches, planned))
    assert after < before
    assert sum(batch.num_tokens for batch in planned) > 0.5 * sum(batch.num_tokens for batch in batches)
    prepared = [trainer.prepare(batch) for batch in planned]
    assert all(batch.is_packed for batch in prepared)
    assert len({batch.targets.shape for batch in prepared}) == 1
    if form == "packed-sdpa":  # the other needs a GPU
        trainer.update(prepared[0])


def trainer_has_sources(name: str) -> bool:
    return not SHAPES[MAKERS[name][1]].is_decoder_only


def test_peers_that_are_for_gpus_run_there_alone() -> None:
    on_cpu = {peer.name for peer in peers_of(smoke_settings("smoke"))}
    on_cuda = {peer.name for peer in peers_of(replace(smoke_settings("smoke"), device="cuda"))}
    assert on_cuda - on_cpu == {"torch.nn.Transformer compiled"}
    assert [form.name for form in ours_of(smoke_settings("smoke"))] == ["seqtrain", "seqtrain compiled"]
    forms = [form.form for form in ours_of(replace(smoke_settings("smoke"), device="cuda"))]
    assert forms == ["padded", "packed-varlen", "packed-sdpa"]
    assert {"JoeyNMT", "eole", "Hugging Face Marian", "torch.nn.Transformer"} <= on_cpu


def test_a_peer_that_there_is_not_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(SystemExit, match=r"No peer is called Marian; there are .*JoeyNMT"):
        peers_of(smoke_settings("smoke"), ["Marian"])


def test_each_precision_is_compared_with_its_fastest_peer_and_the_best_with_the_best() -> None:
    speeds = {"x fp32": 3.0, "x bf16": 5.0, "y bf16": 6.0, "a fp32": 2.0, "b bf16": 1.0, "c bf16": 0.5}
    rounds = Rounds({name: [Block(1.0, 1.0, speed)] for name, speed in speeds.items()})
    claims = make_claims("tiny-128", rounds, {"fp32": (["x"], ["a"]), "bf16": (["x", "y"], ["c", "b"])})
    assert [(claim.ours, claim.baseline, claim.bar) for claim in claims] == [
        ("x fp32", "a fp32", 2.2),
        ("y bf16", "b bf16", 3.0),
        ("y bf16", "a fp32", 3.0),
    ]


def test_the_table_of_contestants_states_the_share_of_a_gpus_peak() -> None:
    rounds = Rounds({"a": [Block(1.0, 1.0, 100.0, device_seconds=1.0)]})
    facts = {"parameters": 5, "flops_per_token": 990e9, "peak_bytes": 2**21, "versions": {"torch": "2.13.0"}}
    row = arms_table({"a": facts}, [rounds]).splitlines()[-1]
    assert row == "| a | 5 | 100 | 99,000 | 10.0% | 2 | torch 2.13.0 |"


@pytest.mark.slow
def test_a_contest_of_processes_runs_from_batches_to_claims(tmp_path: Path) -> None:
    words = "--shapes lm-smoke --precisions fp32 --rounds 2 --warmup 1 --scouting-rounds 1 --scouting-warmup 1"
    words += f" --batches 2 --max-tokens 16 --threads 1 --output {tmp_path}"
    sections = run_contest("lm-smoke", parse_options(words.split()))
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text())
    assert "is_finished" not in record
    (claim,), arms = record["claims"], record["arms"]
    ours, peer = claim["statement"].split(" / ")
    forms = {"seqtrain fp32", "seqtrain compiled fp32"}  # of which the one runs again that was faster at first
    assert ours in forms
    assert peer == "GPT-2 loop fp32"
    assert set(arms) in ({*forms, form + AGAIN, peer} for form in forms)
    assert any(section.startswith("A/A: ") for section in sections)


def test_a_shape_counts_one_table() -> None:
    shape = Shape("x", num_layers=0, width=4, ffn_width=8, num_heads=1, num_types=10)
    assert shape.num_parameters == 40
