"""What every criterion promises."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.testing import assert_close

from seqtrain.criterions import LossOutput
from seqtrain.testing.fakes import TinyFeatureModel, TinyModel, TinyTask, collate, with_padding
from seqtrain.testing.plugin import PluginContract

WORD_LENGTHS = (4, 6, 0, 3, 2)


class CriterionContract(PluginContract):
    """The suite of a criterion: it gives sums, over the targets that are no padding, with a gradient."""

    kind: ClassVar[str] = "criterion"

    def task(self) -> TinyTask:
        """The task that the criterion is built for."""
        return TinyTask()

    def criterion(self) -> Any:
        """A new criterion."""
        return self.build(self.task())

    def model(self) -> TinyModel:
        """The model whose loss is taken: it gives logits and nothing else."""
        torch.manual_seed(1)
        return TinyModel(self.task())

    def pairs(self) -> list[tuple[list[int], list[int]]]:
        """Sentences of different lengths, an empty one among them."""
        task, generator = self.task(), random.Random(1)
        words = [task.random_word(generator, length) for length in WORD_LENGTHS]
        return list(zip(words, reversed(words), strict=True))

    def loss(self, model: TinyModel, rows: slice = slice(None), *, extra_padding: int = 0) -> LossOutput:
        """The loss of some of the sentences, as one batch."""
        output = self.criterion()(model, with_padding(collate(self.pairs()[rows]), extra_padding))
        assert isinstance(output, LossOutput), f"{self.name} returns no LossOutput"
        return output

    def test_the_loss_is_a_finite_scalar_with_a_gradient(self) -> None:
        """`loss_sum` is (), and backward gives the model finite gradients that are not all zero."""
        model = self.model()
        output = self.loss(model)
        assert output.loss_sum.shape == ()
        assert torch.isfinite(output.loss_sum)
        assert output.sample_size > 0
        output.loss_sum.backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert any(gradient.abs().sum() > 0 for gradient in gradients)

    def test_a_step_against_the_gradient_lowers_the_loss(self) -> None:
        """The gradient is that of the loss that is shown."""
        model = self.model()
        before = self.loss(model)
        before.loss_sum.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=1e-3)
        assert self.loss(model).loss_sum < before.loss_sum

    def test_the_sums_of_two_halves_add_up(self) -> None:
        """A loss is a sum, never a mean: so it can be added over micro-batches and ranks."""
        model = self.model()
        whole, first, second = self.loss(model), self.loss(model, slice(0, 2)), self.loss(model, slice(2, None))
        assert_close(first.loss_sum + second.loss_sum, whole.loss_sum)
        assert first.sample_size + second.sample_size == whole.sample_size
        assert first.logs.keys() == second.logs.keys() == whole.logs.keys()
        for name, value in whole.logs.items():
            assert_close(first.logs[name] + second.logs[name], value, msg=f"the log {name!r} is no sum")

    def test_padding_does_not_count(self) -> None:
        """More padding changes neither the loss nor what it is divided by."""
        model = self.model()
        tight, loose = self.loss(model), self.loss(model, extra_padding=3)
        assert_close(loose.loss_sum, tight.loss_sum)
        assert loose.sample_size == tight.sample_size

    def test_logs_are_scalars_without_a_gradient(self) -> None:
        """A log that kept its graph would keep every activation of the batch in memory."""
        for name, value in self.loss(self.model()).logs.items():
            assert isinstance(value, Tensor), f"the log {name!r} is no tensor"
            assert value.shape == (), f"the log {name!r} is no scalar"
            assert not value.requires_grad, f"the log {name!r} is not detached"

    def test_features_and_logits_give_the_same_loss_and_gradient(self) -> None:
        """A model that offers features to a fused loss is trained like one that offers logits alone."""
        plain, fused = self.model(), TinyFeatureModel(self.task())
        fused.load_state_dict(plain.state_dict())
        outputs = [self.loss(model) for model in (plain, fused)]
        assert_close(outputs[1].loss_sum, outputs[0].loss_sum)
        assert outputs[1].sample_size == outputs[0].sample_size
        for output in outputs:
            output.loss_sum.backward()
        for (name, one), other in zip(plain.named_parameters(), fused.parameters(), strict=True):
            assert_close(other.grad, one.grad, msg=f"the fused gradient of {name} differs")
