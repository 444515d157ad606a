"""One update, from micro-batches to new parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from seqtrain.criterions.base import Criterion, LossOutput
from seqtrain.data.batch import Batch
from seqtrain.models.base import Model
from seqtrain.nn.training_kernels import TrainingKernels, using
from seqtrain.tasks.base import Task
from seqtrain.training.compilation import CompiledLoss, CompileOptions
from seqtrain.training.distributed import Processes
from seqtrain.training.ema import ExponentialAverage
from seqtrain.training.metrics import MetricSums
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.randomness import seed_everything
from seqtrain.training.recording import RecordedPass
from seqtrain.training.reduction import GradientReduction
from seqtrain.training.shards import local_part, norm_of_parts
from seqtrain.training.skipping import StepOutcome, make_step
from seqtrain.training.stopwatch import Phase, Stopwatch

_NORM_EPSILON = 1e-6  # keeps the clipping factor finite, as in torch.nn.utils.clip_grad_norm_


class TrainableModule(nn.Module):
    """The one module that distributed training wraps: whatever uses parameters runs inside its forward.

    A fused loss that read the output weight outside of it would leave the ranks with different gradients, silently.
    """

    def __init__(self, model: Model, criterion: Criterion) -> None:
        super().__init__()
        self.model = model
        self.criterion = criterion  # registered as a submodule where it is one, so that its parameters train too
        self._compiled: CompiledLoss | None = None
        self._kernels: TrainingKernels | None = None

    def use_kernels(self, kernels: TrainingKernels) -> None:
        """Let compiled kernels do what they can of training on a CPU."""
        self._kernels = kernels

    def compile_training(self, options: CompileOptions) -> None:
        """Let torch.compile make kernels for training; validation stays as it is, whose shapes hardly repeat."""
        self._compiled = CompiledLoss(self._loss, options)

    @contextmanager
    def uncompiled(self) -> Iterator[None]:
        """In here, training runs layer by layer, so that each can be looked at."""
        compiled = self._compiled, self._kernels
        self._compiled = self._kernels = None
        try:
            yield
        finally:
            self._compiled, self._kernels = compiled

    def forward(self, batch: Batch) -> LossOutput:
        """The loss of a batch."""
        if not self.training or not torch.is_grad_enabled():
            return self._loss(batch)
        if self._compiled is not None:
            return self._compiled(batch)
        if self._kernels is None:
            return self._loss(batch)
        with using(self._kernels):
            return self._loss(batch)

    def _loss(self, batch: Batch) -> LossOutput:
        return self.criterion(self.model, batch)


@dataclass(frozen=True, kw_only=True)
class LossFunction:
    """A model, a criterion and how they run: enough to measure a loss.

    Attributes:
        task: Whose steps are taken.
        module: Model and criterion as one module, as distributed training wraps them.
        precision: The number format.
        device: Where the model is.
    """

    task: Task
    module: TrainableModule
    precision: MixedPrecision
    device: torch.device

    def loss(self, model: Model, batch: Batch) -> LossOutput:
        """The criterion that a task's `valid_step` is handed."""
        with self.precision.autocast():
            output: LossOutput = self.module(batch)
        return output


@dataclass(frozen=True, kw_only=True)
class Learner(LossFunction):
    """All that takes part in an update.

    Attributes:
        optimizer: Makes the step.
        reduction: Adds up the gradients of micro-batches and processes.
        processes: Who trains together.
        average: Of the weights, where one is kept: it is what is validated.
        recording: Repeats the passes of micro-batches, where that is wanted.
        stopwatch: Is told what the time is spent on.
    """

    optimizer: torch.optim.Optimizer
    reduction: GradientReduction
    processes: Processes
    average: ExponentialAverage | None = None
    recording: RecordedPass | None = None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    def averaged_weights(self) -> AbstractContextManager[None]:
        """Let the model have the average as its weights, where one is kept, and its own again afterwards."""
        return nullcontext() if self.average is None else self.average.applied()

    def add_gradient(self, batch: Batch) -> LossOutput:
        """Add the gradient of a micro-batch, by the task's step, to those of the parameters."""
        self.stopwatch.enter(Phase.forward)  # a recorded pass says no more, its backward pass included
        if self.recording is None:
            return self._train_step(batch)
        return self.recording(batch, self._train_step)

    def _train_step(self, batch: Batch) -> LossOutput:
        return self.task.train_step(batch, self.module.model, self.training_loss, self.optimizer)

    def training_loss(self, model: Model, batch: Batch) -> LossOutput:
        """The criterion that a task's `train_step` is handed.

        Its loss is scaled for float16. That of a filler is multiplied by zero: the pass is made for the other
        processes' sake, which wait for its gradients.
        """
        return self._scaled_loss(self.reduction.module, batch)

    def local_loss(self, model: Model, batch: Batch) -> LossOutput:
        """The same loss of this process alone: its gradient does not travel."""
        return self._scaled_loss(self.module, batch)

    def _scaled_loss(self, module: nn.Module, batch: Batch) -> LossOutput:
        self.stopwatch.enter(Phase.forward)
        with self.precision.autocast():
            output: LossOutput = module(batch)
        loss = output.loss_sum * 0.0 if batch.is_filler else self.precision.scale(output.loss_sum)
        self.stopwatch.enter(Phase.backward)  # a task's step takes the gradient of what it is given here
        return replace(output, loss_sum=loss, logs={"loss": output.loss_sum.detach(), **output.logs})


@dataclass(frozen=True)
class UpdateOptions:
    """The settings of an update.

    Attributes:
        clip_norm: The L2 norm that the gradient is scaled down to; 0 does not clip.
        seed: Of dropout.
    """

    clip_norm: float
    seed: int


@dataclass(frozen=True)
class UpdateResult:
    """What one update did.

    Attributes:
        outcome: What became of the optimizer's step.
        num_tokens: Target tokens, padding not counted, of all processes.
        num_sentences: Examples, of all processes.
    """

    outcome: StepOutcome
    num_tokens: int
    num_sentences: int


def run_update(
    learner: Learner,
    batches: Sequence[Batch],
    sums: MetricSums,
    *,
    options: UpdateOptions,
    first_batch: tuple[int, int],
) -> UpdateResult:
    """Make one update of this process's micro-batches.

    Args:
        learner: What takes part.
        batches: Its micro-batches.
        sums: Takes the losses and the gradient norm, unless the step was left out.
        options: The settings.
        first_batch: Epoch and global number of the update's first micro-batch, from which random numbers derive.
    """
    learner.optimizer.zero_grad(set_to_none=True)
    update_sums = MetricSums()
    counts = _accumulate_gradients(learner, batches, update_sums, options=options, first_batch=first_batch)
    learner.stopwatch.enter(Phase.communication)
    learner.reduction.finish()
    sample_size, num_tokens, num_sentences = map(int, learner.processes.sum(counts))
    learner.stopwatch.enter(Phase.optimizer)
    learner.precision.unscale(learner.optimizer)
    norm = average_and_clip_gradients(learner.module, sample_size, options.clip_norm)
    outcome = make_step(learner.precision, learner.optimizer, norm)
    learner.stopwatch.enter(Phase.host)
    if not outcome.counts:  # float16 overflowed: by its scale, unless the loss itself is no number
        is_bad = outcome.is_bad or learner.processes.any(not update_sums.is_finite("loss"))
        outcome = replace(outcome, is_bad=is_bad)
    if learner.processes.is_first:  # the same in all
        if outcome.counts:
            update_sums.add("grad_norm", norm)
            update_sums.add_number("num_updates", 1)
        sums.add("num_skipped", torch.as_tensor(outcome.skipped, device=norm.device))
    sums.add_update(update_sums, left_out=outcome.is_bad)
    return UpdateResult(outcome=outcome, num_tokens=num_tokens, num_sentences=num_sentences)


def _accumulate_gradients(
    learner: Learner,
    batches: Sequence[Batch],
    sums: MetricSums,
    *,
    options: UpdateOptions,
    first_batch: tuple[int, int],
) -> tuple[int, int, int]:
    """Add up gradients and losses; this process's sample size, target tokens and examples."""
    epoch, number = first_batch
    rank, world_size = learner.processes.rank, learner.processes.world_size
    sample_size = num_tokens = num_sentences = 0
    for index, batch in enumerate(batches):
        seed_everything(options.seed, "train", epoch, number + index * world_size + rank)
        with learner.reduction.micro_batch(batch, is_last=index == len(batches) - 1):
            output = learner.add_gradient(batch.to(learner.device))
            learner.stopwatch.enter(Phase.communication)
        learner.stopwatch.enter(Phase.host)
        if batch.is_filler:
            continue
        sample_size += output.sample_size
        num_tokens += batch.num_tokens
        num_sentences += len(batch)
        sums.add_output(output, num_tokens=batch.num_tokens, num_sentences=len(batch))
        sums.add_number("num_source_tokens", batch.num_source_tokens)
    return sample_size, num_tokens, num_sentences


def average_and_clip_gradients(module: nn.Module, sample_size: int, clip_norm: float) -> Tensor:
    """Divide summed gradients by the sample size, and scale them down to a norm.

    Args:
        module: Its parameters' gradients are changed in place.
        sample_size: Target tokens (or sentences) of the update, over all ranks and micro-batches.
        clip_norm: The largest L2 norm; 0 does not clip.

    Returns:
        The L2 norm () of the averaged gradient before clipping, on its device: the host does not wait for it. If it is
        not finite, the gradient is divided but not clipped, so that it still shows where it is not.
    """
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm = norm_of_parts(gradients) / max(1, sample_size)
    factor = torch.full_like(norm, 1.0 / max(1, sample_size))
    if clip_norm > 0:
        clipping = torch.clamp(clip_norm / (norm + _NORM_EPSILON), max=1.0)
        factor = torch.where(torch.isfinite(norm), factor * clipping, factor)
    torch._foreach_mul_([local_part(gradient) for gradient in gradients], factor)
    return norm
