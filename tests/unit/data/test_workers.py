"""Processes that tokenize."""

from __future__ import annotations

import signal

import pytest

from seqtrain.data.tokenizers import Tokenizer, TokenizerKind, TokenizerOptions, make_tokenizer
from seqtrain.data.tokenizers.subword_nmt import SubwordTokenizer
from seqtrain.data.tokenizers.whitespace import WhitespaceTokenizer
from seqtrain.data.workers import Worker, tokenize_in_processes

TEXT = ["the cat sat on the mat", "the dog sat on the log"] * 20


@pytest.mark.parametrize(
    "tokenizer",
    [
        make_tokenizer(TokenizerOptions(kind=TokenizerKind.sentencepiece, vocab_size=30), TEXT),
        SubwordTokenizer("#version: 0.2\nt h\nth e</w>\n", "codes"),
        WhitespaceTokenizer(),
    ],
    ids=lambda tokenizer: tokenizer.kind.name,
)
def test_tokenizers_work_in_other_processes_as_in_this_one(tokenizer: Tokenizer) -> None:
    (chunk,) = tokenize_in_processes([TEXT], tokenizer, 1)
    expected = [symbol for line in TEXT for symbol in tokenizer.tokenize(line)]
    assert [chunk.symbols[token] for token in chunk.tokens] == expected


def test_there_may_be_more_processes_than_work() -> None:
    chunks = list(tokenize_in_processes([["a b"], ["c"]], WhitespaceTokenizer(), 3))
    assert [chunk.symbols for chunk in chunks] == [["a", "b"], ["c"]]


def test_what_a_tokenizer_raises_comes_up_here() -> None:
    with Worker(WhitespaceTokenizer()) as worker:
        worker.send([None])  # type: ignore[list-item]
        with pytest.raises(AttributeError, match="has no attribute 'split'"):
            worker.receive()


def test_a_process_that_dies_is_an_error() -> None:
    with Worker(WhitespaceTokenizer()) as worker:
        worker.send(["a"])
        worker.receive()
        worker._process.send_signal(signal.SIGKILL)
        with pytest.raises(RuntimeError, match="died with status -9"):
            worker.receive()


def test_processes_are_gone_behind_the_block() -> None:
    with Worker(WhitespaceTokenizer()) as worker:
        assert worker._process.poll() is None
    assert worker._process.poll() == 0
