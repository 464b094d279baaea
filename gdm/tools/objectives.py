"""What a search can be for."""

from typing import Any

from gdm.errors import UserError
from gdm.evaluation.metrics import METRICS, better
from gdm.recipes.spelling import nearest
from gdm.training.sweep_options import SearchOptions

DIRECTIONS = {"lower": "minimize", "higher": "maximize"}
# What scripts/evaluate.py alone measures.
NOT_VALIDATED = {
    "importance_weighted_bound", "memorised", "network_evaluations", "psnr", "samples_per_second",
    "ssim",
}  # fmt: skip


def refuse_impossible(options: SearchOptions, space: dict, recipe: dict[str, Any] | None) -> None:
    """Refuse what no search can be, before anything is trained.

    Args:
        options: objectives, length, pruning.
        space: the dimensions.
        recipe: of the first trial; None if it cannot be composed.

    Raises:
        UserError: saying what is wrong.
    """
    if not space:
        raise UserError("sweeper=optuna: no key has several values, or an interval, to search")
    known = [name for name in METRICS if better(name) in DIRECTIONS and name not in NOT_VALIDATED]
    names = options.objectives
    if not names or len(set(names)) < len(names):
        raise UserError("sweeper.objectives: must be at least one metric, each once")
    for name in names:
        if name in NOT_VALIDATED:
            raise UserError(f"sweeper.objectives: {name} is measured by evaluate.py only")
        if name in METRICS and name not in known:
            raise UserError(f"sweeper.objectives: {name}: neither way of it is better")
        if name not in METRICS:
            said = nearest(name, known)
            raise UserError(
                f"sweeper.objectives: there is no metric {name}{said}; there are "
                f"{', '.join(known)}"
            )
        missing = None if recipe is None else _missing_for(name, recipe)
        if missing:
            raise UserError(f"sweeper.objectives: {name} is not recorded with {missing}")
    if options.prune and len(names) > 1:
        raise UserError(f"sweeper.prune={options.prune}: takes one objective, not {len(names)}")
    if options.prune and recipe is not None and not (recipe["callbacks"] or {}).get("validation"):
        raise UserError(f"sweeper.prune={options.prune}: is not possible without validations")


def _missing_for(name: str, recipe: dict[str, Any]) -> str | None:
    """Return what a recipe lacks for a metric to be recorded, if that can be told."""
    of_pairs = name in ("kernel_distance", "precision", "recall", "density", "coverage")
    if not of_pairs and name not in ("frechet_distance", "inception_score"):
        return None  # the model's own
    if recipe.get("extractor") is None:
        return "extractor=null"
    validation = (recipe["callbacks"] or {}).get("validation")
    if not validation:
        return "callbacks.validation=null"
    if not validation.get("quality"):
        return "callbacks.validation.quality=null"
    if of_pairs and not validation["quality"].get("pairwise"):
        return "callbacks.validation.quality.pairwise=false"
    return None
