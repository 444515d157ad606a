"""`python -m seqtrain.train`: train a model, or go on training it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from seqtrain.config.app import Command, Job, launch
from seqtrain.config.root import TrainConfig
from seqtrain.errors import PreemptedError, RunFolderError

if TYPE_CHECKING:
    from seqtrain.training.loop import Trainer
    from seqtrain.training.run_folder import RunFolder
    from seqtrain.training.signals import StopRequest

logger = logging.getLogger(__name__)


def run(config: TrainConfig, job: Job) -> float | None:
    """Train in the job's run folder.

    Returns:
        The best value of the validation metric, for sweepers; None without a validation.

    Raises:
        PreemptedError: A signal asked for an end; the run is saved.
    """
    from seqtrain.console import configure_logging
    from seqtrain.training.run_folder import RunConfig, RunFolder
    from seqtrain.training.signals import StopRequest
    from seqtrain.training.unfinished import mention_unfinished

    written = RunConfig(job.hydra_files["config.yaml"], job.resolved, job.hydra_files)
    with StopRequest() as stop, RunFolder(_choose_folder(job), written) as folder:
        configure_logging(folder.log)
        if not folder.checkpoints.exists():
            mention_unfinished(folder.path, job.resolved, job.argv)
        folder.write_status("running")
        trainer = _build(config, folder, stop)
        num_updates_before = trainer.state.num_updates
        with trainer.surroundings.display:
            reason = trainer.fit()
        state = trainer.state
        summary = {"update": state.num_updates, "reason": reason, "best": state.best_metric}
        if stop:
            folder.write_status("stopped", **summary)
            raise PreemptedError(
                f"{reason} at update {state.num_updates}: the run is saved in {folder.path}",
                remedy="the same command goes on from there",
            )
        folder.write_status("finished", **summary)
        if state.num_updates == num_updates_before:
            logger.info("the run in %s was finished already, by %s", folder.path, reason)
        else:
            logger.info("finished by %s at update %d, in %s", reason, state.num_updates, folder.path)
        return state.best_metric


def _build(config: TrainConfig, folder: RunFolder, stop: StopRequest) -> Trainer:
    """The trainer; a signal ends this at once, for text may be prepared here and there is nothing to save yet."""
    try:
        with stop.raising(f"before the first update: nothing is lost of the run in {folder.path}"):
            from seqtrain.assemble import build_trainer  # torch, which the signal handlers had to precede

            return build_trainer(config, folder, stop)
    except PreemptedError:
        folder.write_status("stopped", reason=stop.signal_name)
        raise


def _choose_folder(job: Job) -> Path:
    """The job's own folder, or with --resume that of the newest unfinished run of its config."""
    from seqtrain.training.unfinished import newest_unfinished

    if "resume" not in job.flags:
        return job.run_dir
    found = newest_unfinished(job.run_dir, job.resolved)
    if found is None:
        raise RunFolderError(
            f"--resume: there is no unfinished run of this config near {job.run_dir}",
            remedy="start it without --resume, or name its folder: hydra.run.dir=FOLDER",
        )
    return found


def main() -> None:
    """Run the command."""
    launch(Command("train", TrainConfig, "seqtrain.train:run"))


if __name__ == "__main__":
    main()
