"""Weights & Biases, without a network."""

import os
import secrets
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from gdm.pictures.grids import as_pil
from gdm.training.loggers import RunLogger


class WandB(RunLogger):
    """Writes what `wandb sync` sends later; `WANDB_MODE=online` in the environment sends it now.

    A run that goes on keeps its identifier and begins another folder. What the one before has
    written of steps that are taken again cannot be taken back: it is sent too.

    Args:
        folder, purge_step: as `RunLogger` takes them.
        project: what the run belongs to.
    """

    name = "wandb"
    title = "W&B"
    libraries = ("wandb",)

    def __init__(self, folder: str, purge_step: int | None, project: str = "gdm") -> None:
        super().__init__(folder, purge_step)
        self.project = project

    @cached_property
    def run(self) -> Any:
        """What W&B calls a run."""
        # a run that somebody sent cannot choose this, as it could if it were a key
        mode = os.environ.get("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)  # W&B would go elsewhere
        run = wandb.init(
            mode=mode,
            dir=str(self.folder.parent),
            project=self.project,
            id=self._identifier() or secrets.token_hex(4),
            name=self.folder.resolve().parent.name,
            resume="allow",
            reinit="create_new",  # in a sweep one run follows another
            settings=wandb.Settings(
                silent=True,
                console="off",
                symlink=False,
                save_code=False,
                disable_git=True,
                disable_job_creation=True,
                x_disable_meta=True,
                x_disable_stats=True,
            ),
        )
        for link in filter(Path.is_symlink, self.folder.rglob("*")):  # a run directory has none
            link.unlink()
        return run

    def write_settings(self, settings: dict[str, Any]) -> None:
        named = {key.replace(".", "/"): value for key, value in settings.items()}
        self.run.config.update(named, allow_val_change=True)

    def write_metrics(self, metrics: dict[str, float], step: int | None) -> None:
        self.run.log(metrics, step=step)

    def write_picture(self, name: str, picture: Tensor, step: int) -> None:
        from wandb import Image

        self.run.log({name: Image(as_pil(picture))}, step=step)

    def write_end(self, succeeded: bool) -> None:
        self.run.finish(exit_code=0 if succeeded else 1)

    def _identifier(self) -> str | None:
        """Return the identifier that the run has already; None for a new one."""
        files = self.folder.glob("*run-*/run-*.wandb")
        return next((file.stem.removeprefix("run-") for file in sorted(files)), None)
