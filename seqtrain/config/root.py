"""The root config of each command, and the sections that they share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from seqtrain.config.schema import MISSING, Problem, Section


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
class TrainingConfig(RuntimeConfig):
    """One training run: how long, how large an update, on what."""

    max_updates: int | None = 100_000
    """Stop after so many updates (optimizer steps); null sets no limit."""
    max_epochs: int | None = None
    """Stop after so many passes over the training data; null sets no limit."""
    stop_time_hours: float | None = None
    """Stop, saved, after so many hours of training, those before a resume included; null sets no limit."""
    update_freq: int = 1
    """Micro-batches a rank, of which one update is made (gradient accumulation)."""
    clip_norm: float = 0.0
    """Scale the gradient down to this L2 norm; 0 does not clip."""
    seed: int = 1
    """Of the initial weights, the data order and dropout."""

    def problems(self) -> Iterator[Problem]:
        """Limits are positive or null."""
        yield from super().problems()
        for name in ("max_updates", "max_epochs", "stop_time_hours"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                yield Problem(name, f"must be positive or null, but is {value}")
        if self.update_freq < 1:
            yield Problem("update_freq", f"must be at least 1, but is {self.update_freq}")
        if self.clip_norm < 0:
            yield Problem("clip_norm", f"must be at least 0, but is {self.clip_norm}")
        if not 0 <= self.seed < 2**32:
            yield Problem("seed", f"must be in [0, 2**32), but is {self.seed}")


@dataclass(kw_only=True)
class ValidationConfig(Section):
    """When to validate, and which measure decides."""

    interval_updates: int | None = None
    """Validate after so many updates; null does not."""
    interval_epochs: int | None = 1
    """Validate after so many epochs; null does not. There is a validation at the end in any case."""
    metric: str = "loss"
    """The measure that chooses the best checkpoint and that patience watches: loss, nll_loss, or one of the task's."""
    maximize: bool = False
    """Whether more of the metric is better (bleu), rather than less (loss)."""
    patience: int | None = None
    """Stop after so many validations in a row without a better metric; null does not."""
    generate: bool = False
    """Decode the validation sources at each validation, for the task's measures of text (BLEU, chrF)."""
    num_examples_shown: int = 0
    """Decoded examples to log at each validation, with their sources and references."""

    def problems(self) -> Iterator[Problem]:
        """Intervals are positive or null."""
        for name in ("interval_updates", "interval_epochs", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                yield Problem(name, f"must be positive or null, but is {value}")


@dataclass(kw_only=True)
class CheckpointConfig(Section):
    """When to save, and what to keep."""

    save_interval_updates: int | None = None
    """Save after so many updates; null does not. A run is saved at its end in any case."""
    save_interval_epochs: int | None = 1
    """Save after so many epochs; null does not."""
    save_interval_minutes: float | None = None
    """Save after so many minutes; null does not."""
    keep_last: int = 2
    """Keep this many of the newest checkpoints, besides the best ones."""
    keep_best: int = 1
    """Keep this many of the checkpoints with the best validation metric."""
    finetune_from: str | None = None
    """A checkpoint folder whose weights the model starts from; nothing else of it is taken."""

    def problems(self) -> Iterator[Problem]:
        """Intervals are positive or null."""
        for name in ("save_interval_updates", "save_interval_epochs", "save_interval_minutes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                yield Problem(name, f"must be positive or null, but is {value}")
        if self.keep_last < 1:
            yield Problem("keep_last", f"must be at least 1, but is {self.keep_last}")
        if self.keep_best < 0:
            yield Problem("keep_best", f"must be at least 0, but is {self.keep_best}")


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


@dataclass(kw_only=True)
class LoggingConfig(Section):
    """What a run shows and writes while it runs."""

    interval_updates: int = 50
    """Updates between two rows of metrics.jsonl, and between two lines of a plain display."""
    progress: Progress = Progress.auto
    """auto takes rich on a terminal and plain lines elsewhere."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard too (needs the extra: pip install 'seqtrain[tensorboard]')."""

    def problems(self) -> Iterator[Problem]:
        """The interval is positive."""
        if self.interval_updates < 1:
            yield Problem("interval_updates", f"must be at least 1, but is {self.interval_updates}")


@dataclass(kw_only=True)
class TrainConfig(Section):
    """`python -m seqtrain.train`: the five plug-ins and how to train them."""

    task: Any = MISSING
    """What is learned from which data."""
    model: Any = MISSING
    """The network."""
    criterion: Any = MISSING
    """The loss."""
    optimizer: Any = MISSING
    """What turns gradients into steps."""
    lr_scheduler: Any = MISSING
    """The learning rate over the course of training."""
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    run_name: str | None = None
    """Write the run to outputs/RUN_NAME instead of a folder named by date and time."""

    def problems(self) -> Iterator[Problem]:
        """A run ends: by updates, epochs, time or patience."""
        limits = (
            self.training.max_updates,
            self.training.max_epochs,
            self.training.stop_time_hours,
            self.validation.patience,
        )
        if all(limit is None for limit in limits):
            yield Problem(
                "training.max_updates",
                "is null and so are max_epochs, stop_time_hours and validation.patience: set one of them",
            )


@dataclass(kw_only=True)
class PreprocessConfig(Section):
    """`python -m seqtrain.preprocess`: raw text to a data-bin folder."""

    task: Any = MISSING
    """The task whose text is to be written; task.data is the folder of the text."""
    output: str = MISSING
    """The folder to write: vocabularies, tokenizer, .bin and .idx files, dataset.json."""
    num_workers: int | None = None
    """Processes; null takes one a core."""


@dataclass(kw_only=True)
class InferenceConfig(Section):
    """What the commands that use a trained model have in common."""

    checkpoint: str = MISSING
    """A checkpoint folder: outputs/RUN/checkpoints/best."""
    ensemble: list[str] = field(default_factory=list)
    """Further checkpoint folders: the mean of the models' probabilities decides."""
    data: str | None = None
    """The folder of the text, instead of the one that the model was trained on."""
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    progress: Progress = Progress.auto
    """auto takes rich on a terminal and plain lines elsewhere."""


@dataclass(kw_only=True)
class GenerateConfig(InferenceConfig):
    """`python -m seqtrain.generate`: decode a split or a file."""

    split: str = "test"
    """The split to decode, when no input is given."""
    input: str | None = None
    """A text file to decode instead of a split, a line each."""
    output: str | None = None
    """The file for the decoded text, a line each (nbest lines for each input); null writes to stdout."""
    score_reference: bool = False
    """Score the references instead of decoding."""
    generation: GenerationConfig = field(default_factory=GenerationConfig)


@dataclass(kw_only=True)
class InteractiveConfig(InferenceConfig):
    """`python -m seqtrain.interactive`: a line in, a line out."""

    buffer_size: int = 1
    """Lines that are read before they are decoded together."""
    show_scores: bool = False
    """Write the score before each hypothesis, with a tab between."""
    generation: GenerationConfig = field(default_factory=GenerationConfig)

    def problems(self) -> Iterator[Problem]:
        """The buffer holds a line at least."""
        if self.buffer_size < 1:
            yield Problem("buffer_size", f"must be at least 1, but is {self.buffer_size}")


@dataclass(kw_only=True)
class EvaluateConfig(InferenceConfig):
    """`python -m seqtrain.evaluate`: losses and all that the task measures, on a split."""

    split: str = "valid"
    """The split to evaluate."""
    generate: bool = True
    """Decode the sources too, for the task's measures of text (BLEU, chrF), where it has any."""
    generation: GenerationConfig = field(default_factory=GenerationConfig)
