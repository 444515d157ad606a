"""`python -m seqtrain.train`: train a model, or go on training it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seqtrain.config.app import Command, Job, launch
from seqtrain.config.root import TrainConfig
from seqtrain.errors import PreemptedError, RunFolderError

if TYPE_CHECKING:
    from seqtrain.training.loop import Trainer
    from seqtrain.training.run_folder import RunConfig, RunFolder
    from seqtrain.training.signals import StopRequest

logger = logging.getLogger(__name__)


def run(config: TrainConfig, job: Job) -> float | None:
    """Train in the job's run folder.

    Returns:
        The best value of the validation metric, for sweepers; None without a validation.

    Raises:
        PreemptedError: A signal asked for an end; the run is saved.
    """
    from seqtrain.config.ranks import is_numbered, this_rank
    from seqtrain.training.signals import StopRequest

    with StopRequest() as stop:
        stop.limit(config.training.time_budget_hours)
        if config.distributed.num_processes is not None and not is_numbered():
            from seqtrain.rank import train_in_processes

            found = replace(job, run_dir=_choose_folder(job, _written(job)), flags=job.flags - {"resume"})
            return train_in_processes(config, found, stop)
        return _lead(config, job, stop) if this_rank().is_first else _follow(config, stop)


def _lead(config: TrainConfig, job: Job, stop: StopRequest) -> float | None:
    """Train as the process that owns the run folder and the display."""
    from seqtrain.console import configure_logging
    from seqtrain.training.found_tokens import with_known_max_tokens
    from seqtrain.training.run_folder import RunFolder
    from seqtrain.training.unfinished import mention_unfinished

    path = _choose_folder(job, _written(job))
    config, written = with_known_max_tokens(config, _written(job), path)
    with RunFolder(path, written, job.allowed_changes) as folder:
        configure_logging(folder.paths.log)
        if not folder.paths.checkpoints.exists():
            mention_unfinished(folder.path, written, job.argv)
        folder.log_changes()
        folder.write_status("running")
        trainer = _build(config, folder, stop)
        num_updates_before = trainer.state.num_updates
        with trainer.surroundings.outputs.display:
            reason = trainer.fit()
        state = trainer.state
        summary = {"update": state.num_updates, "reason": reason, "best": state.best_metric}
        if trainer.surroundings.stop:
            folder.write_status("stopped", **summary)
        else:
            folder.write_status("finished", **summary)
        trainer.learner.processes.close()
        _raise_if_stopped(trainer, reason, folder.path)
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

            return build_trainer(config, folder.path, stop)
    except PreemptedError:
        folder.write_status("stopped", reason=stop.signal_name)
        raise


def _follow(config: TrainConfig, stop: StopRequest) -> float | None:
    """Train as one of the processes that the first one leads."""
    from seqtrain.console import configure_logging

    configure_logging()
    with stop.raising("before the first update"):
        from seqtrain.assemble import build_trainer

        trainer = build_trainer(config, None, stop)
    reason = trainer.fit()
    trainer.learner.processes.close()
    _raise_if_stopped(trainer, reason, trainer.saver.keeper.folder.parent)
    return trainer.state.best_metric


def _raise_if_stopped(trainer: Trainer, reason: str, folder: Path) -> None:
    if trainer.surroundings.stop:
        raise PreemptedError(
            f"{reason} at update {trainer.state.num_updates}: the run is saved in {folder}",
            remedy="the same command goes on from there",
        )


def _written(job: Job) -> RunConfig:
    from seqtrain.training.run_folder import RunConfig

    return RunConfig(job.hydra_files["config.yaml"], job.resolved, job.hydra_files)


def _choose_folder(job: Job, config: RunConfig) -> Path:
    """The job's own folder, or with --resume that of the newest unfinished run of its config."""
    from seqtrain.training.unfinished import newest_unfinished

    if "resume" not in job.flags:
        return job.run_dir
    is_sought = config.saved.resolved["batching"]["find_max_tokens"]  # then the run that is found knows the number
    allowed_changes = (*job.allowed_changes, "batching.max_tokens") if is_sought else job.allowed_changes
    found = newest_unfinished(job.run_dir, config, allowed_changes)
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
