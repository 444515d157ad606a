"""Processes that tokenize."""

from __future__ import annotations

import math
import signal
import time
from functools import partial

import pytest

from seqtrain.data import workers
from seqtrain.data.chunk import Chunk, tokenize_chunk
from seqtrain.data.text import JoinedLines
from seqtrain.data.tokenizers import Tokenizer, TokenizerKind, TokenizerOptions, make_tokenizer
from seqtrain.data.tokenizers.subword_nmt import SubwordTokenizer
from seqtrain.data.tokenizers.whitespace import WhitespaceTokenizer
from seqtrain.data.workers import Worker, call_in_process, tokenize_in_processes


class Unreadable:
    """Can be sent, and not received."""

    def __call__(self, work: str) -> str:
        return work

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


def symbols_of(chunk: Chunk) -> list[str]:
    return [chunk.symbols[token] for token in chunk.tokens]


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
    with Worker(partial(tokenize_chunk, tokenizer=tokenizer)) as worker:
        worker.send(TEXT)
        worker.send(JoinedLines("\n".join(TEXT)))
        chunks = [worker.receive(), worker.receive()]
    expected = [symbol for line in TEXT for symbol in tokenizer.tokenize(line)]
    assert [symbols_of(chunk) for chunk in chunks] == [expected, expected]


def test_there_may_be_more_processes_than_work() -> None:
    chunks = list(tokenize_in_processes([["a b"], ["c"]], WhitespaceTokenizer(), 4))
    assert [chunk.symbols for chunk in chunks] == [["a", "b"], ["c"]]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("num_waiting", [1, 64])
def test_chunks_keep_their_order_whoever_has_cut_them(
    count: int, num_waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_CHUNKS_WAITING", num_waiting)
    lines = [[f"{number} {number + 1}"] for number in range(300)]
    chunks = tokenize_in_processes(iter(lines), WhitespaceTokenizer(), count)
    assert [symbols_of(chunk) for chunk in chunks] == [line.split() for (line,) in lines]


def test_messages_larger_than_a_pipe_do_not_wait_for_one_another() -> None:
    long = ["word " * 2**18]
    with Worker(partial(tokenize_chunk, tokenizer=WhitespaceTokenizer())) as worker:
        for _ in range(4):
            worker.send(long)
        assert [len(worker.receive().tokens) for _ in range(4)] == [2**18] * 4


def test_a_message_that_cannot_be_read_is_an_error_and_no_wait() -> None:
    with Worker(Unreadable()) as worker:
        worker.send("a")
        with pytest.raises(RuntimeError, match="died with status"):
            worker.receive()


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
