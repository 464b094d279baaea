"""The GAN of Huang et al. 2024 (R3GAN)."""

from typing import Any

from torch import Tensor

from gdm.models.gan import GAN
from gdm.recipes.ranges import Fraction
from gdm.theory.ramps import Ramp


class R3GAN(GAN):
    """Pairs of real and fake images, D's slope penalised at both, and hyperparameters that change
    over the first part of a run ("The GAN is dead; long live the GAN!", Huang et al. 2024).

        D: softplus(-(D(x) - D(G(z)))) + gamma / 2 (|grad D(x)|^2 + |grad D(G(z))|^2)
        G: softplus(D(x) - D(G(z)))

    Gamma is `penalty.weight` at the start, beta_2 is that of the optimizers' `betas`; both change
    along half a cosine, see `gdm.theory.ramps`. The learning rate has its own, `learning_rate`.

    Args:
        ramp_fraction: fraction of the run over which they change; the paper's 20 M of 250 M
            images are 0.08.
        final_penalty_factor: what gamma is multiplied by after it; 1 for no change.
        final_beta_2: beta_2 of optimizers that have `betas`, after it; None for no change.
        (the rest as in `GAN`)
    """

    def __init__(
        self,
        ramp_fraction: Fraction = 0.08,
        final_penalty_factor: Fraction = 0.1,
        final_beta_2: Fraction | None = 0.99,
        **gan: Any,
    ) -> None:
        super().__init__(**gan)
        self.ramp_fraction = ramp_fraction
        self.final_penalty_factor = final_penalty_factor
        self.final_beta_2 = final_beta_2

    @property
    def progress(self) -> float:
        """The fraction of the run that has passed in the middle of the batch in progress."""
        return max(self.batches_seen - 0.5, 0.0) / self.num_batches

    @property
    def depends_on_length(self) -> bool:
        ramps = self.final_penalty_factor != 1 or self.final_beta_2 is not None
        return super().depends_on_length or ramps

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if self.final_beta_2 is None:
            return
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                if "betas" in group:
                    beta_1, beta_2 = group.setdefault("initial_betas", group["betas"])
                    ramp = Ramp(beta_2, self.final_beta_2, self.ramp_fraction)
                    group["betas"] = (beta_1, ramp(self.progress))

    def penalty_loss(self, real: Tensor, fake: Tensor, condition: Tensor) -> Tensor:
        factor = Ramp(1.0, self.final_penalty_factor, self.ramp_fraction)
        return factor(self.progress) * super().penalty_loss(real, fake, condition)
