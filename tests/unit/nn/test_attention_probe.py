"""What is measured when the fastest attention is looked for; how long it takes is no matter here."""

from __future__ import annotations

import torch

from seqtrain.config.sections import AttentionBackend
from seqtrain.nn.attention_probe import AttentionProblem, measure_backends
from seqtrain.nn.attention_shape import AttentionSize
from tests.unit.nn.packed_rows import layouts

CANDIDATES = (AttentionBackend.matmul, AttentionBackend.sdpa)


def problem(num_layers: int = 1) -> AttentionProblem:
    return AttentionProblem(
        make_layouts=lambda: (*layouts(), None),
        size=AttentionSize(num_heads=2, head_dim=4, dropout=0.0),
        num_layers=num_layers,
        dtype=torch.float32,
        device=torch.device("cpu"),
    )


def test_every_candidate_is_measured_and_the_fastest_comes_first() -> None:
    seconds = measure_backends(CANDIDATES, problem())
    assert set(seconds) == set(CANDIDATES)
    assert list(seconds.values()) == sorted(seconds.values())
    assert min(seconds.values()) > 0.0


def test_a_run_computes_three_attentions_a_layer_and_their_gradients() -> None:
    whole = problem(num_layers=2)
    inputs = whole.inputs()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        whole.run(AttentionBackend.sdpa, inputs)
    calls = {event.key: event.count for event in profile.key_averages()}
    assert calls["aten::scaled_dot_product_attention"] == 6
    assert calls["aten::masked_fill_"] == 3, "layers share what hides other sentences"
