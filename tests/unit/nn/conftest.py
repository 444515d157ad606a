from __future__ import annotations

import pytest

from seqtrain.nn.training_kernels import TrainingKernels


@pytest.fixture(scope="session")
def kernels() -> TrainingKernels:
    """The compiled kernels of training; where there is no C++ compiler, tests that ask for them are skipped before."""
    return TrainingKernels()
