"""The least that a Hydra application can be: what `benchmarks.start_speed` compares seqtrain with."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path=None, config_name=None)
def main(config: DictConfig) -> None:
    """Do nothing with an empty config."""


if __name__ == "__main__":
    main()
