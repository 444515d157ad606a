"""The table of positions against fairseq's."""

from __future__ import annotations

import json

import torch

from seqtrain.nn.positions import sinusoidal_table
from tests.shared import shared


def test_table() -> None:
    expected = json.loads((shared("golden/fairseq") / "sinusoidal.json").read_text())
    table = sinusoidal_table(expected["num_embeddings"], expected["embedding_dim"], expected["padding_idx"])
    torch.testing.assert_close(table, torch.tensor(expected["table"]), rtol=0, atol=1e-6)
