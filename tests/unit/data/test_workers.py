"""Processes that tokenize."""

from __future__ import annotations

import math
import signal
import time
from functools import partial

import pytest

from seqtrain.data.chunk import tokenize_chunk
from seqtrain.data.tokenizers import Tokenizer, TokenizerKind, TokenizerOptions, make_tokenizer
from seqtrain.data.tokenizers.subword_nmt import SubwordTokenizer
from seqtrain.data.tokenizers.whitespace import WhitespaceTokenizer
from seqtrain.data.workers import Worker, call_in_process, tokenize_in_processes

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
    with Worker(partial(tokenize_chunk, tokenizer=WhitespaceTokenizer())) as worker:
        worker.send([None])
        with pytest.raises(AttributeError, match="has no attribute 'split'"):
            worker.receive()


def test_a_process_that_dies_is_an_error() -> None:
    with Worker(partial(tokenize_chunk, tokenizer=WhitespaceTokenizer())) as worker:
        worker.send(["a"])
        worker.receive()
        worker._process.send_signal(signal.SIGKILL)
        with pytest.raises(RuntimeError, match="died with status -9"):
            worker.receive()


def test_processes_are_gone_behind_the_block() -> None:
    with Worker(partial(tokenize_chunk, tokenizer=WhitespaceTokenizer())) as worker:
        assert worker._process.poll() is None
    assert worker._process.poll() == 0


def test_a_process_in_the_middle_of_its_work_is_gone_when_something_is_raised() -> None:
    worker = Worker(time.sleep)
    worker.send(1000)
    worker.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert worker._process.poll() == -signal.SIGKILL


def test_a_process_leaves_signals_to_its_parent() -> None:
    with Worker(math.fabs) as worker:
        worker.send(-1)
        assert worker.receive() == 1
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            worker._process.send_signal(number)
        worker.send(-2)
        assert worker.receive() == 2


def test_a_call_in_another_process_gives_the_result_and_raises_what_is_raised() -> None:
    assert call_in_process(math.sqrt, 9) == 3
    with pytest.raises(ValueError, match=r"math domain error|expected a nonnegative input"):
        call_in_process(math.sqrt, -9)
