"""The contract suites that every plug-in passes, for plug-in authors too.

A suite is a class of pytest tests. To hold a plug-in to it, derive from it and say the plug-in's name:

    from seqtrain.testing import ModelContract

    class TestMyLSTM(ModelContract):
        name = "my_lstm"
        overrides = {"hidden_size": 16}     # optional: settings that make the tests faster
"""

from seqtrain.testing.criterion import CriterionContract
from seqtrain.testing.fakes import TinyFeatureModel, TinyLanguageModel, TinyModel, TinyTask, collate, with_padding
from seqtrain.testing.lr_scheduler import LRSchedulerContract
from seqtrain.testing.model import ModelContract
from seqtrain.testing.optimizer import OptimizerContract
from seqtrain.testing.plugin import PluginContract
from seqtrain.testing.task import TaskContract

__all__ = [
    "CriterionContract",
    "LRSchedulerContract",
    "ModelContract",
    "OptimizerContract",
    "PluginContract",
    "TaskContract",
    "TinyFeatureModel",
    "TinyLanguageModel",
    "TinyModel",
    "TinyTask",
    "collate",
    "with_padding",
]
