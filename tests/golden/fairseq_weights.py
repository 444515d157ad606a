"""fairseq's parameter names in ours, for tests against its runs."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

_RENAMED = (
    (r"^decoder\.embed_tokens\.", "target_embedding."),
    (r"^encoder\.embed_tokens\.", "source_embedding."),
    (r"^decoder\.output_projection\.", "output_projection."),
    (r"^(encoder|decoder)\.embed_positions\.", r"\1_input.positions."),
    (r"^(encoder|decoder)\.layernorm_embedding\.", r"\1_input.norm."),
    (r"^(encoder|decoder)\.layer_norm\.", r"\1.norm."),
    (r"\.self_attn_layer_norm\.", ".self_attention_norm."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attention_norm."),
    (r"\.final_layer_norm\.", ".feed_forward_norm."),
    (r"\.self_attn\.", ".self_attention."),
    (r"\.encoder_attn\.", ".cross_attention."),
    (r"\.fc1\.", ".feed_forward.inner."),
    (r"\.fc2\.", ".feed_forward.outer."),
    (r"_attention\.out_proj\.", "_attention.output."),
)
_FUSED = {
    "self_attention": ("query_key_value", ("q_proj", "k_proj", "v_proj")),
    "cross_attention": ("key_value", ("k_proj", "v_proj")),
}


def our_state_dict(weights: Mapping[str, np.ndarray], names: set[str]) -> dict[str, Tensor]:
    """A model's state from fairseq's parameters.

    Args:
        weights: fairseq's parameters by its names; a tied one may stand there under each of its names.
        names: Our model's names; what it ties away (`output_projection.weight`) is left out.
    """
    found = {renamed(name): torch.from_numpy(np.array(value)) for name, value in weights.items()}
    for prefix in {name.rsplit(".", 2)[0] for name in found if name.endswith("_proj.weight")}:
        fused, parts = _FUSED[prefix.rsplit(".", 1)[-1]]
        for kind in ("weight", "bias"):
            found[f"{prefix}.{fused}.{kind}"] = torch.cat([found[f"{prefix}.{part}.{kind}"] for part in parts])
            if prefix.endswith("cross_attention"):
                found[f"{prefix}.query.{kind}"] = found[f"{prefix}.q_proj.{kind}"]
    return {name: value for name, value in found.items() if name in names}


def fairseq_views(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters under fairseq's names, wide projections taken apart; those of the tables stay ours."""
    views: dict[str, Tensor] = {}
    for name, value in state.items():
        match = re.match(r"^(.*\.(self_attention|cross_attention))\.(query_key_value|key_value|query)\.(\w+)$", name)
        if match is None:
            views[name] = value
            continue
        prefix, _, fused, kind = match.groups()
        parts = {"query_key_value": "qkv", "key_value": "kv", "query": "q"}[fused]
        for part, piece in zip(parts, value.chunk(len(parts)), strict=True):
            views[f"{prefix}.{part}_proj.{kind}"] = piece
    return views


def renamed(name: str) -> str:
    """Our name of a parameter of fairseq's."""
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name
