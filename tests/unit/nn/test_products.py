"""Both ways to multiply against torch.matmul."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from seqtrain.nn import products
from seqtrain.nn.products import make_products

FORMATS = [torch.float64, torch.float32, torch.bfloat16]


@pytest.mark.parametrize("has_onednn", [False, True])
@pytest.mark.parametrize("dtype", FORMATS)
def test_products(dtype: torch.dtype, has_onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if has_onednn and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(products, "has_onednn", lambda: has_onednn)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randint(-3, 4, (7, 5), generator=generator).to(dtype)  # small whole numbers: products are exact
    x = torch.randint(-3, 4, (6, 5), generator=generator).to(dtype)
    y_grad = torch.randint(-3, 4, (6, 7), generator=generator).to(dtype)
    made = make_products(weight, dtype, wants_input_grad=True)
    assert_close(made.forward(x), x @ weight.T)
    assert_close(made.input_grad(y_grad), y_grad @ weight)
    made.add_weight_grad(y_grad, x)
    made.add_weight_grad(2 * y_grad, x)
    assert_close(made.weight_grad(), (3 * y_grad.T @ x).to(torch.promote_types(dtype, torch.float32)))


def test_gradients_of_bfloat16_products_are_summed_in_float32() -> None:
    made = make_products(torch.ones(2, 1), torch.bfloat16, wants_input_grad=False)
    ones = torch.ones(1, 2, dtype=torch.bfloat16)
    for x in (1024.0, 1.0):
        made.add_weight_grad(ones, torch.full((1, 1), x, dtype=torch.bfloat16))
    assert made.weight_grad().tolist() == [[1025.0], [1025.0]]  # bfloat16 would have kept 1024
