"""Train a GAN with your own step: a generator learns to draw points from a mixture of Gaussians.

python examples/gan.py      a few seconds; prints the share of points near a centre, and how many centres are covered
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from camshaft.engine import Engine, Events

MODES, SPREAD = 6, 0.08  # centres on the unit circle, and the standard deviation around each
NOISE, BATCH = 4, 128
Losses = dict[str, Tensor]


def centres() -> Tensor:
    """Return the centres of the mixture: shape `(MODES, 2)`."""
    angle = torch.arange(MODES) * (2 * math.pi / MODES)
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def real_points(batches: int) -> Iterator[Tensor]:
    """Yield batches of points from the mixture: shape `(BATCH, 2)`."""
    for _ in range(batches):
        yield centres()[torch.randint(MODES, (BATCH,))] + SPREAD * torch.randn(BATCH, 2)


def make_network(inputs: int, outputs: int) -> nn.Sequential:
    """Return a network with two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, outputs)
    )


class Duel:
    """A generator and a discriminator, with the step that trains both."""

    def __init__(self) -> None:
        self.generator, self.discriminator = make_network(NOISE, 2), make_network(2, 1)
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), lr=2e-3, betas=(0.5, 0.9))
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=2e-3, betas=(0.5, 0.9))
        # The generator of the last step circles around the mixture; its average over many steps lies on it.
        average = get_ema_multi_avg_fn(0.99)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.average = AveragedModel(self.generator, multi_avg_fn=average)

    def step(self, engine: Engine[Tensor, Losses], real: Tensor) -> Losses:
        """Train the discriminator to tell real from generated points, then the generator to deceive it."""
        real.requires_grad_()
        drawn = self.generator(torch.randn(len(real), NOISE))
        truth, guess = self.discriminator(real), self.discriminator(drawn.detach())
        (slope,) = torch.autograd.grad(truth.sum(), real, create_graph=True)
        # The penalty on the slope at real points makes the training stable.
        discriminator_loss = softplus(-truth).mean() + softplus(guess).mean() + 0.1 * slope.square().sum(dim=1).mean()
        self.discriminator_optimizer.zero_grad()
        discriminator_loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.discriminator_optimizer.step()

        generator_loss = softplus(-self.discriminator(drawn)).mean()
        self.generator_optimizer.zero_grad()
        generator_loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.generator_optimizer.step()
        self.average.update_parameters(self.generator)
        return {"generator": generator_loss.detach(), "discriminator": discriminator_loss.detach()}

    @torch.no_grad()
    def quality(self, count: int = 2000) -> tuple[float, int]:
        """Return the share of generated points near a centre, and the number of centres that are covered.

        Near means within four standard deviations. A centre is covered if it gets at least half of an equal share.
        """
        distance, nearest = torch.cdist(self.average(torch.randn(count, NOISE)), centres()).min(dim=1)
        near = distance < 4 * SPREAD
        drawn_at = torch.bincount(nearest[near], minlength=MODES)
        return near.float().mean().item(), int((drawn_at > count / MODES / 2).sum())


def main() -> None:
    """Train and print."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    duel = Duel()
    trainer = Engine(duel.step)

    @trainer.on(Events.ITERATION_COMPLETED(every=200))
    def report(engine: Engine[Tensor, Losses]) -> None:
        losses = engine.state.output or {}
        print(engine.state.iteration, {name: f"{loss.item():.2f}" for name, loss in losses.items()})

    trainer.run(real_points(800))
    share, covered = duel.quality()
    print(f"{share:.0%} of the points lie near a centre, {covered} of {MODES} centres are covered")


if __name__ == "__main__":
    main()
