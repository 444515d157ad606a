"""The root config of each command, and the sections that they share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from seqtrain.config.checkpoints import AverageConfig, CheckpointConfig, Choice
from seqtrain.config.schema import MISSING, Problem, Section
from seqtrain.config.sections import (
    AttentionBackend,
    BatchForm,
    BatchingConfig,
    Device,
    GenerationConfig,
    Precision,
    Progress,
    Quantization,
    Reduction,
    RuntimeConfig,
    Strategy,
    Switch,
    TrainBatchingConfig,
)

__all__ = [
    "AttentionBackend",
    "AverageConfig",
    "BatchForm",
    "BatchingConfig",
    "CheckpointConfig",
    "Choice",
    "ConvertConfig",
    "Device",
    "DistributedConfig",
    "EvaluateConfig",
    "GenerateConfig",
    "GenerationConfig",
    "InferenceConfig",
    "InteractiveConfig",
    "LoggingConfig",
    "Precision",
    "PreprocessConfig",
    "Progress",
    "Quantization",
    "Reduction",
    "RuntimeConfig",
    "Strategy",
    "Switch",
    "TrainBatchingConfig",
    "TrainConfig",
    "TrainingConfig",
    "ValidationConfig",
]


_FOREVER = 1e9  # seconds, 31 years


@dataclass(kw_only=True)
class TrainingConfig(RuntimeConfig):
    """One training run: how long, how large an update, on what."""

    max_updates: int | None = 100_000
    """Stop after so many updates (optimizer steps); null sets no limit."""
    max_epochs: int | None = None
    """Stop after so many passes over the training data; null sets no limit."""
    stop_time_hours: float | None = None
    """Stop, saved, after so many hours of training, those before a resume included; null sets no limit."""
    time_budget_hours: float | None = None
    """Save and leave with status 75, which asks a scheduler to start the command again, after so many hours of this
    start; null does not."""
    update_freq: int = 1
    """Micro-batches a rank, of which one update is made (gradient accumulation)."""
    attention: AttentionBackend = AttentionBackend.auto
    """What computes attention: matmul, plain products (the CPU); sdpa, torch's fused kernels, with padding masks or, in
    packed batches, rows of several sentences; varlen, flash attention over the sentences of packed batches (CUDA in
    bf16 or fp16, without model.attention_dropout). auto takes matmul on the CPU (or what compile makes there) and sdpa
    on CUDA; for packed batches on CUDA it times both at the start, or, if training.deterministic, takes varlen where it
    can."""
    compile: Switch = Switch.never
    """Have kernels made for the machine at hand: on CUDA torch.compile makes them of model and criterion, which takes a
    minute or two at the start; on a CPU the C++ compiler makes some that are faster than torch's operators, in seconds.
    auto does so where it can; always says so and stops where it cannot."""
    cuda_graphs: Switch = Switch.never
    """Record forward and backward pass of a batch once, and have the GPU repeat them without the host. Takes batches of
    one shape (batching.form=packed) and one process. auto does so up to 12288 tokens a batch; above, a GPU has enough
    to do."""
    clip_norm: float = 0.0
    """Scale the gradient down to this L2 norm; 0 does not clip."""
    max_nonfinite_updates: int | None = 10
    """An update whose gradient is not finite makes no step; stop after so many in a row, null goes on for ever."""
    seed: int = 1
    """Of the initial weights, the data order and dropout."""
    ema_decay: float | None = None
    """Keep an exponential moving average of the weights, which is what is validated and, by default, what is used of
    the checkpoints. At update n this much of it stays: min(ema_decay, (1 + n) / (10 + n)). null keeps none."""
    reduction: Reduction = Reduction.sum
    """sum adds the gradients of an update's micro-batches as they come. exact adds them in pairs, in an order that does
    not depend on the number of processes, which gives the same bits with 1, 2 or more of them on the CPU; it sends
    the gradient of each micro-batch."""
    profile: bool = False
    """Log where an update's time goes, measured over updates 21 to 70 of this start, and write a trace of three more,
    profile.json.gz, into the run folder."""

    def problems(self) -> Iterator[Problem]:
        """Limits are positive or null."""
        yield from super().problems()
        for name in ("max_updates", "max_epochs", "stop_time_hours", "time_budget_hours", "max_nonfinite_updates"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                yield Problem(name, f"must be positive or null, but is {value}")
        if self.update_freq < 1:
            yield Problem("update_freq", f"must be at least 1, but is {self.update_freq}")
        if self.clip_norm < 0:
            yield Problem("clip_norm", f"must be at least 0, but is {self.clip_norm}")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            yield Problem("ema_decay", f"must be between 0 and 1, such as 0.9999, or null, but is {self.ema_decay}")
        if not 0 <= self.seed < 2**32:
            yield Problem("seed", f"must be in [0, 2**32), but is {self.seed}")


@dataclass(kw_only=True)
class DistributedConfig(Section):
    """Several processes that train one model, as torchrun starts them."""

    strategy: Strategy = Strategy.ddp
    """ddp keeps the whole model in each process (DistributedDataParallel); fsdp shares parameters, gradients and
    optimizer state out among them (fully_shard, FSDP2)."""
    backend: str | None = None
    """What carries the gradients; null takes nccl for CUDA and gloo for the CPU."""
    find_unused_parameters: bool = False
    """For a model that leaves parameters without a gradient in some passes: look for them in each (ddp; costs time)."""
    timeout_seconds: float = 600.0
    """How long a process waits for another one before the run fails."""
    num_processes: int | None = None
    """Start so many processes on this machine (on each machine of a SLURM job), as torchrun would; null does not."""

    def problems(self) -> Iterator[Problem]:
        """Numbers are positive."""
        if not 0 < self.timeout_seconds < _FOREVER:
            yield Problem("timeout_seconds", f"must be in (0, {_FOREVER:g}), but is {self.timeout_seconds}")
        if self.num_processes is not None and self.num_processes < 1:
            yield Problem("num_processes", f"must be positive or null, but is {self.num_processes}")


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
class LoggingConfig(Section):
    """What a run shows and writes while it runs."""

    interval_updates: int = 50
    """Updates between two rows of metrics.jsonl, and between two lines of a plain display."""
    progress: Progress = Progress.auto
    """auto takes rich on a terminal and plain lines elsewhere."""
    batches: bool = False
    """Write batches.jsonl: the numbers of the examples of each update, and a digest of their tokens."""
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
    batching: TrainBatchingConfig = field(default_factory=TrainBatchingConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
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
        if self.training.reduction is Reduction.exact and self.distributed.strategy is Strategy.fsdp:
            yield Problem("training.reduction", "exact needs distributed.strategy=ddp: fsdp adds gradients up itself")
        if self.batching.find_max_tokens and self.distributed.strategy is Strategy.fsdp:
            yield Problem(
                "batching.find_max_tokens",
                "needs distributed.strategy=ddp: with fsdp, a process out of memory leaves the others waiting",
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
    use_ema: bool | None = None
    """Whether to use the averaged weights of the checkpoint (training.ema_decay) or the last ones; null takes the
    averaged ones where there are any."""
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


@dataclass(kw_only=True)
class ConvertConfig(Section):
    """`python -m seqtrain.convert`: a checkpoint in parts, as fsdp runs write it, to one in whole files, or back."""

    checkpoint: str = MISSING
    """A checkpoint folder: outputs/RUN/checkpoints/best."""
    output: str = MISSING
    """The checkpoint folder to write; it must not be there yet."""
    num_parts: int | None = None
    """Share the tensors out to so many files of each kind; null puts them together in one."""

    def problems(self) -> Iterator[Problem]:
        """There is a part at least."""
        if self.num_parts is not None and self.num_parts < 1:
            yield Problem("num_parts", f"must be positive or null, but is {self.num_parts}")


@dataclass(kw_only=True)
class VerifyDataConfig(Section):
    """`python -m seqtrain.verify data`: a report on the quality of a corpus."""

    task: Any = MISSING
    """The task that reads the data; task.data is its folder."""
    batching: BatchingConfig = field(default_factory=BatchingConfig)
    max_length_ratio: float = 3.0
    """A pair is uneven if one side has more than so many times the tokens of the other, end symbols included."""
    num_shown: int = 3
    """Lines to show of each kind that is worth a look, in each split and language; 0 shows none."""
    json: bool = False
    """Write JSON instead of tables."""

    def problems(self) -> Iterator[Problem]:
        """A ratio is one at least, a number of lines is none or more."""
        if self.max_length_ratio < 1:
            yield Problem("max_length_ratio", f"must be at least 1, but is {self.max_length_ratio}")
        if self.num_shown < 0:
            yield Problem("num_shown", f"must be at least 0, but is {self.num_shown}")
