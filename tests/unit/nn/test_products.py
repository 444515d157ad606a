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
    if has_onednn and not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(products, "has_onednn", lambda: has_onednn)
    generator = torch.Generator().manual_seed(1)
    weight = torch.randint(-3, 4, (7, 5), generator=generator).to(dtype)  # small whole numbers: products are exact
    x = torch.randint(-3, 4, (6, 5), generator=generator).to(dtype)
    y_grad = torch.randint(-3, 4, (6, 7), generator=generator).to(dtype)
    made = make_products(weight, dtype, wants_input_grad=True)
    assert_close(made.forward(x), x @ weight.T)
    assert_close(made.input_grad(y_grad), y_grad @ weight)
    total = torch.ones(7, 5, dtype=dtype)
    made.add_weight_grad(total, y_grad, x)
    assert_close(total, 1 + y_grad.T @ x)


def test_gradients_of_bfloat16_products_are_summed_in_the_format_of_the_weight() -> None:
    weight = torch.ones(2, 1)
    made = make_products(weight, torch.bfloat16, wants_input_grad=False)
    total = torch.full((2, 1), 1024.0)
    made.add_weight_grad(total, torch.ones(1, 2, dtype=torch.bfloat16), torch.ones(1, 1, dtype=torch.bfloat16))
    assert total.tolist() == [[1025.0], [1025.0]]  # bfloat16 would have kept 1024
