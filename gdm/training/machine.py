"""What the machine has that a run is trained on."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import torch

from gdm.errors import UserError


def refuse_impossible_trainer(recipe: dict[str, Any]) -> None:
    """Refuse what this machine or torch does not have, which Lightning would replace silently.

    Raises:
        UserError: for a GPU that is not there, or half precision on a CPU.
    """
    trainer, model = recipe["trainer"], recipe["model"]
    optimizers = [name for name in ("optimizer", "discriminator_optimizer") if name in model]
    fused = [f"model.{name}.fused=false" for name in optimizers if model[name].get("fused")]
    if trainer["precision"] == "16-mixed" and model.get("max_gradient_norm") and fused:
        raise UserError(
            "trainer.precision=16-mixed with model.max_gradient_norm: a fused optimizer clips "
            f"gradients that are still scaled; add {' '.join(fused)}"
        )
    on_gpu = torch.cuda.is_available() and trainer["accelerator"] != "cpu"
    if trainer["accelerator"] == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer.accelerator=gpu: torch finds no GPU here; use trainer=cpu")
    if trainer["precision"] == "16-mixed" and not on_gpu:
        raise UserError(
            "trainer.precision=16-mixed: needs a GPU; on a CPU use 32-true or bf16-mixed"
        )


def device_name(device: torch.device) -> str:
    """Return what a device is called by those who made it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory_mib() -> float:
    """Return the most memory that this process has held, in MiB."""
    if sys.platform == "win32":
        import psutil  # there alone it knows the peak

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, others KiB


def forget_peak_memory() -> None:
    """Let the peak of this process be that of what follows, where the system can."""
    with contextlib.suppress(OSError):  # not on Linux, or not allowed
        Path("/proc/self/clear_refs").write_text("5")


def num_cores() -> int:
    """Return how many cores this process may use."""
    can_ask = hasattr(os, "sched_getaffinity")  # not on macOS and Windows
    return len(os.sched_getaffinity(0)) if can_ask else os.cpu_count() or 1


def available_memory_gib() -> float | None:
    """Return the memory that new work can have, in GiB; None where the system does not say."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(found.split()[1]) / 2**20
    return None
