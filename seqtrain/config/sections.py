"""The sections that the root configs of several commands share, and the choices that their fields offer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from seqtrain.config.schema import Problem, Section


class Device(Enum):
    """Where tensors live."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Precision(Enum):
    """The number format of the matrix products; parameters and optimizer state are float32 always."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class Reduction(Enum):
    """How the gradients of an update's micro-batches are added up."""

    sum = "sum"
    exact = "exact"


class Strategy(Enum):
    """How several processes share a model."""

    ddp = "ddp"
    fsdp = "fsdp"


class BatchForm(Enum):
    """How the sentences of a training batch stand in it."""

    padded = "padded"
    packed = "packed"


class AttentionBackend(Enum):
    """What computes attention."""

    auto = "auto"
    matmul = "matmul"
    sdpa = "sdpa"
    varlen = "varlen"


class Switch(Enum):
    """Whether something is done that is not always possible, or does not always pay."""

    never = "never"
    auto = "auto"
    always = "always"


class Quantization(Enum):
    """How a decoder holds its large weights."""

    none = "none"
    int8 = "int8"


class Progress(Enum):
    """How a running command shows what it does."""

    auto = "auto"
    rich = "rich"
    plain = "plain"
    none = "none"


@dataclass(kw_only=True)
class BatchingConfig(Section):
    """How examples are gathered into batches."""

    max_tokens: int | None = 4096
    """Tokens of one micro-batch on one rank: sentences times the longest of them on either side, padding included.
    None sets no limit."""
    max_sentences: int | None = None
    """Sentences of one micro-batch on one rank. None sets no limit."""
    required_batch_size_multiple: int = 8
    """A batch holds fewer sentences than this or a multiple of it."""
    num_prefetch: int = 4
    """Batches that are made ahead of their use, on a thread; 0 makes each when it is asked for."""

    def problems(self) -> Iterator[Problem]:
        """Limits are positive, and there is at least one."""
        for name in ("max_tokens", "max_sentences"):
            value = getattr(self, name)
            if value is not None and value < 1:
                yield Problem(name, f"must be positive or null, but is {value}")
        if self.max_tokens is None and self.max_sentences is None:
            yield Problem("max_tokens", "is null and so is max_sentences: set one of them")
        if self.required_batch_size_multiple < 1:
            yield Problem(
                "required_batch_size_multiple", f"must be at least 1, but is {self.required_batch_size_multiple}"
            )
        if self.num_prefetch < 0:
            yield Problem("num_prefetch", f"must be at least 0, but is {self.num_prefetch}")


@dataclass(kw_only=True)
class TrainBatchingConfig(BatchingConfig):
    """How training examples are gathered into batches."""

    form: BatchForm = BatchForm.padded
    """padded gathers sentences of like lengths, and fills them up to the longest. packed writes sentences of all
    lengths one after the other, max_tokens of them on the longer side, without padding between: all batches have one
    shape. Takes a model that says it can, as transformer does."""
    find_max_tokens: bool = False
    """Find the largest max_tokens that the memory of every rank holds with a tenth to spare, beginning at max_tokens,
    and train with it. It is written into the run's config, and the run goes on with the number that was found."""

    def problems(self) -> Iterator[Problem]:
        """A search begins somewhere."""
        yield from super().problems()
        if self.find_max_tokens and self.max_tokens is None:
            yield Problem("find_max_tokens", "needs a batching.max_tokens to begin with")
        if self.form is BatchForm.packed and self.max_tokens is None:
            yield Problem("form", "packed needs a batching.max_tokens: the size of every batch follows from it")


@dataclass(kw_only=True)
class RuntimeConfig(Section):
    """The machine: device, number format, threads."""

    device: Device = Device.auto
    """auto takes CUDA where there is a GPU, else the CPU."""
    precision: Precision = Precision.auto
    """auto takes bf16 where the hardware multiplies it (CUDA from Ampere on, CPUs with AMX or AVX512-BF16), else
    fp32."""
    num_threads: int | None = None
    """CPU threads of torch; null takes one a core. The number changes results in the last bits."""
    deterministic: bool = False
    """On CUDA, use only kernels that give the same bits each time, which costs speed. The CPU always does."""

    def problems(self) -> Iterator[Problem]:
        """A number of threads is positive; fp16 needs a GPU."""
        if self.num_threads is not None and self.num_threads < 1:
            yield Problem("num_threads", f"must be positive or null, but is {self.num_threads}")
        if self.precision is Precision.fp16 and self.device is Device.cpu:
            yield Problem("precision", "fp16 needs a GPU: use bf16 or fp32 on the CPU")


@dataclass(kw_only=True)
class GenerationConfig(Section):
    """How a trained model writes."""

    beam_size: int = 5
    """Hypotheses that are followed at a time; 1 is greedy search."""
    nbest: int = 1
    """Hypotheses that are returned for each input, best first."""
    length_penalty: float = 1.0
    """A hypothesis is scored by its log-probability over length ** length_penalty; more favours longer ones."""
    normalize_scores: bool = True
    """Divide by length ** length_penalty at all."""
    max_len_a: float = 0.0
    """A hypothesis has at most max_len_a * source length + max_len_b tokens, before the end symbol."""
    max_len_b: int = 200
    """See max_len_a."""
    min_len: int = 1
    """A hypothesis has at least so many tokens before the end symbol, unless its greatest length is less."""
    no_repeat_ngram_size: int = 0
    """Forbid an n-gram of this size to occur twice in a hypothesis; 0 does not."""
    unk_penalty: float = 0.0
    """Subtracted from the log-probability of the unknown symbol; more means fewer."""
    temperature: float = 1.0
    """Divides the logits; more makes the distribution flatter."""
    sampling: bool = False
    """Draw each token from the distribution instead of searching; beam_size samples are drawn."""
    top_k: int | None = None
    """Sample among the k most probable tokens; null sets no limit."""
    top_p: float | None = None
    """Sample among the fewest most probable tokens whose probabilities sum to top_p (Holtzman et al., 2020); null sets
    no limit."""
    quantization: Quantization = Quantization.none
    """int8 holds the decoder's large weights as 8-bit integers, which a CPU multiplies faster; it changes results
    slightly."""
    compile: bool = False
    """Decode with kernels that this machine's C++ compiler makes for its CPU, in a second or two at the start; results
    change by rounding."""
    prefix_size: int = 0
    """Force the first tokens of each hypothesis to be those of the reference."""
    seed: int = 1
    """Of sampling: the same seed and input give the same text."""

    def problems(self) -> Iterator[Problem]:
        """Sizes are positive; probabilities are probabilities."""
        for name in ("beam_size", "nbest", "min_len"):
            if getattr(self, name) < 1:
                yield Problem(name, f"must be at least 1, but is {getattr(self, name)}")
        if self.nbest > self.beam_size:
            yield Problem("nbest", f"must be at most beam_size ({self.beam_size}), but is {self.nbest}")
        if self.max_len_a < 0 or self.max_len_b < 0:
            yield Problem("max_len_b", "max_len_a and max_len_b must be at least 0")
        if self.temperature <= 0:
            yield Problem("temperature", f"must be positive, but is {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            yield Problem("top_k", f"must be positive or null, but is {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            yield Problem("top_p", f"must be in (0, 1] or null, but is {self.top_p}")
        for name in ("no_repeat_ngram_size", "prefix_size"):
            if getattr(self, name) < 0:
                yield Problem(name, f"must be at least 0, but is {getattr(self, name)}")
        if not self.sampling and (self.top_k is not None or self.top_p is not None):
            yield Problem("top_k", "top_k and top_p need generation.sampling=true")
