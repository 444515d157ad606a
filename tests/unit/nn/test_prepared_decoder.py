"""A decoder that is laid out for generation computes what its modules compute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqtrain.models.transformer.model import Transformer
from seqtrain.models.transformer.schema import TransformerConfig
from seqtrain.models.transformer_lm.model import TransformerLM
from seqtrain.models.transformer_lm.schema import TransformerLMConfig
from seqtrain.nn import prepared_decoder
from seqtrain.nn.cache import TransformerCache
from seqtrain.nn.decoding_kernels import decoding_kernels
from seqtrain.nn.native.build import find_compiler
from seqtrain.nn.options import Activation
from seqtrain.nn.packed_linear import multiplies_int8
from seqtrain.nn.prepared_decoder import DecodingFormat, PreparedDecoder, can_be_prepared
from seqtrain.testing.fakes import TinyTask

BEAM = 3
SOURCES = torch.tensor([[4, 5, 6, 2], [7, 2, 1, 1]])
LENGTHS = torch.tensor([4, 2])
SIZES = {"layers": 2, "embed_dim": 16, "ffn_embed_dim": 32, "attention_heads": 4}


def make_model(**options: Any) -> Transformer:
    torch.manual_seed(1)
    fields: dict[str, Any] = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in SIZES.items()}
    model = Transformer(TransformerConfig(**{**fields, **options}), TinyTask())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # biases and norms too
    return model.eval()


def steps_of(model: Transformer, *, prepared: PreparedDecoder | None, num_steps: int = 9) -> Tensor:
    """The logits (steps, N, V) while hypotheses take turns; of a sentence that stays alone at last."""
    cache = model.init_cache(model.encode(SOURCES, LENGTHS), BEAM)
    assert isinstance(cache, TransformerCache)
    used = cache if prepared is None else prepared.adopt(cache)
    found = []
    for step in range(num_steps):
        num_sentences = used.batch_size
        tokens = (torch.arange(num_sentences * BEAM) + 3 * step) % 7 + 4
        logits = model.decode_step(tokens, used) if prepared is None else prepared.logits(prepared.step(tokens, used))
        found.append(logits.float()[-BEAM:])
        offsets = torch.arange(num_sentences)[:, None] * BEAM
        used.reorder((offsets + torch.tensor([1, 1, step % BEAM])).flatten())
        if step == 6:
            used.keep(torch.tensor([1]))
    return torch.stack(found)


FORMS = [DecodingFormat()]
if find_compiler() is not None:
    FORMS.append(DecodingFormat(kernels=decoding_kernels()))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"encoder_normalize_before": True, "decoder_normalize_before": True},
        {"activation_fn": Activation.gelu, "layernorm_embedding": True},
        {"share_all_embeddings": True},
        {"decoder_input_dim": 8, "decoder_output_dim": 12},
    ],
)
def test_the_logits_are_the_models(options: dict[str, Any], form: DecodingFormat) -> None:
    model = make_model(**options)
    prepared = PreparedDecoder(model.decoder_parts(), form)
    with torch.no_grad():
        torch.testing.assert_close(steps_of(model, prepared=prepared), steps_of(model, prepared=None))


@pytest.mark.parametrize("form", FORMS)
def test_in_bfloat16_they_are_near(form: DecodingFormat) -> None:
    model = make_model()
    prepared = PreparedDecoder(model.decoder_parts(), replace(form, dtype=torch.bfloat16))
    with torch.no_grad():
        found, expected = steps_of(model, prepared=prepared), steps_of(model, prepared=None)
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.skipif(not multiplies_int8(), reason="this CPU has no instructions for 8-bit integers")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm_first", [False, True])
def test_with_integers_they_are_near_in_every_number_format(dtype: torch.dtype, norm_first: bool) -> None:
    model = make_model(decoder_ffn_embed_dim=2**14, decoder_normalize_before=norm_first)  # 16 x 2**14 = 2**18
    prepared = PreparedDecoder(model.decoder_parts(), DecodingFormat(dtype, int8=True))
    with torch.no_grad():
        found, expected = steps_of(model, prepared=prepared), steps_of(model, prepared=None)
    assert 0 < (found - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.parametrize("form", FORMS)
def test_a_first_step_of_one_row_a_sentence_is_that_of_rows_that_are_alike(form: DecodingFormat) -> None:
    model = make_model()
    prepared = PreparedDecoder(model.decoder_parts(), form)
    logits = []
    with torch.no_grad():
        for num_rows in (1, BEAM):
            cache = model.init_cache(model.encode(SOURCES, LENGTHS), BEAM)
            assert isinstance(cache, TransformerCache)
            adopted = prepared.adopt(cache)
            first = prepared.step(torch.full((2 * num_rows,), 2), adopted)
            second = prepared.step(torch.arange(2 * BEAM) + 4, adopted)
            logits.append(torch.cat([prepared.logits(first[:: len(first) // 2]), prepared.logits(second)]))
    torch.testing.assert_close(*logits)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows_at_once", [7, 4096])
def test_a_beginning_that_is_read_at_once_is_the_same_as_its_steps(
    form: DecodingFormat, rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared_decoder, "_ROWS_READ_AT_ONCE", rows_at_once)
    sizes = {f"decoder_{name}": size for name, size in SIZES.items()}
    model = TransformerLM(TransformerLMConfig(**sizes), TinyTask()).eval()  # type: ignore[arg-type]
    prepared = PreparedDecoder(model.decoder_parts(), form)
    beginning = torch.randint(4, 11, (3, 40), generator=torch.Generator().manual_seed(1))
    logits = []
    with torch.no_grad():
        for reads_at_once in (True, False):
            empty = model.init_cache(3, BEAM)
            assert isinstance(empty, TransformerCache)
            cache = prepared.adopt(empty)
            if reads_at_once:
                prepared.read(beginning, cache)
            else:
                for tokens in beginning.t():
                    prepared.step(tokens.repeat_interleave(BEAM), cache)
            assert cache.num_steps == 40
            found = [prepared.logits(prepared.step(torch.arange(3 * BEAM) % 7 + 4, cache))]
            cache.reorder(torch.tensor([1, 1, 0, 3, 5, 5, 8, 6, 6]))
            found.append(prepared.logits(prepared.step(torch.arange(3 * BEAM) % 5 + 4, cache)))
            cache.keep(torch.tensor([0, 2]))
            found += [prepared.logits(prepared.step(torch.arange(2 * BEAM) + 4, cache)) for _ in range(80)]
            logits.append(torch.cat(found))
    torch.testing.assert_close(*logits)


def test_layers_that_are_someones_variation_cannot_be_prepared() -> None:
    model = make_model()
    assert can_be_prepared(model.decoder)
    model.decoder.layers[1].feed_forward = nn.Identity()
    assert not can_be_prepared(model.decoder)
