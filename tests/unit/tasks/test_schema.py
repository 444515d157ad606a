"""Faults of the tasks' configs that are found before any data is read."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from seqtrain.data.tokenizers.base import TokenizerKind
from seqtrain.tasks.language_modeling import LanguageModelingConfig
from seqtrain.tasks.translation import TranslationConfig


def keys(config: TranslationConfig | LanguageModelingConfig) -> list[str]:
    return [problem.key for problem in config.problems()]


def test_the_defaults_have_no_fault() -> None:
    assert keys(TranslationConfig(data="folder")) == []
    assert keys(LanguageModelingConfig(data="folder")) == []


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"vocab_size": 0}, "vocab_size"),
        ({"min_count": -1}, "min_count"),
        ({"valid_fraction": 1.0}, "valid_fraction"),
        ({"valid_fraction": -0.1}, "valid_fraction"),
        ({"tokenizer": TokenizerKind.subword_nmt}, "bpe_codes"),
        ({"bpe_codes": "codes"}, "bpe_codes"),
        ({"tokenizer": TokenizerKind.characters, "remove_bpe": "@@ "}, "remove_bpe"),
        ({"source_lang": "en", "target_lang": "en"}, "target_lang"),
        ({"max_source_positions": 0}, "max_source_positions"),
        ({"max_target_positions": 0}, "max_target_positions"),
        ({"bleu_tokenizer": "14a"}, "bleu_tokenizer"),
    ],
)
def test_a_fault_of_a_translation_names_its_key(settings: dict[str, Any], key: str) -> None:
    assert keys(TranslationConfig(data="folder", **settings)) == [key]


def test_a_fault_of_a_language_model_names_its_key() -> None:
    assert keys(LanguageModelingConfig(data="folder", tokens_per_sample=0)) == ["tokens_per_sample"]


def test_the_bleu_tokenizers_are_sacrebleus() -> None:
    from sacrebleu.metrics.bleu import BLEU

    from seqtrain.tasks.translation.schema import BLEU_TOKENIZERS

    assert set(BLEU_TOKENIZERS) <= set(BLEU.TOKENIZERS)


def test_the_schemas_need_neither_torch_nor_numpy() -> None:
    code = "import seqtrain.tasks, sys; sys.exit(bool({'torch', 'numpy', 'sentencepiece'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
