"""Two models that train against each other, with an engine for their common step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ignite.engine import Engine, Events
from ignite.handlers import ModelCheckpoint, TerminateOnNan, Timer
from ignite.metrics import RunningAverage


def main(folder: Path) -> dict[str, Any]:
    """Train a generator of points on a ring."""
    torch.manual_seed(3)
    angles = torch.rand(320) * 2 * torch.pi
    data = torch.stack([angles.cos(), angles.sin()], dim=1).split(32)
    generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    discriminator = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    loss_fn = nn.BCEWithLogitsLoss()
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=0.01, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=0.01, betas=(0.5, 0.999))
    fixed_noise = torch.randn(8, 4)

    def step(engine: Any, real: torch.Tensor) -> dict[str, float]:
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        discriminator.zero_grad()
        error_real = loss_fn(discriminator(real), ones)
        error_real.backward()
        fake = generator(torch.randn(len(real), 4))
        error_fake = loss_fn(discriminator(fake.detach()), zeros)
        error_fake.backward()
        optimizer_d.step()
        generator.zero_grad()
        output = discriminator(fake)
        error_g = loss_fn(output, ones)
        error_g.backward()
        optimizer_g.step()
        return {
            "errD": (error_real + error_fake).item(),
            "errG": error_g.item(),
            "D_G_z": output.sigmoid().mean().item(),
        }

    trainer = Engine(step)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan(lambda output: list(output.values())))
    for name in ("errD", "errG", "D_G_z"):
        RunningAverage(alpha=0.98, output_transform=lambda x, name=name: x[name]).attach(trainer, name)
    timer = Timer(average=True)
    timer.attach(
        trainer, start=Events.EPOCH_STARTED, resume=Events.ITERATION_STARTED,
        pause=Events.ITERATION_COMPLETED, step=Events.ITERATION_COMPLETED,
    )  # fmt: skip
    saver = ModelCheckpoint(str(folder / "gan"), "networks", n_saved=None)
    trainer.add_event_handler(Events.EPOCH_COMPLETED(every=2), saver, {"netG": generator, "netD": discriminator})
    log: list[Any] = []
    samples: list[float] = []

    @trainer.on(Events.ITERATION_COMPLETED(every=10))
    def print_logs(engine: Any) -> None:
        log.append(
            [
                engine.state.epoch,
                engine.state.iteration,
                *(engine.state.metrics[name] for name in sorted(engine.state.metrics)),
            ]
        )

    @trainer.on(Events.EPOCH_COMPLETED)
    def save_fake_example(engine: Any) -> None:
        with torch.no_grad():
            samples.append(float(generator(fixed_noise).norm(dim=1).mean()))

    trainer.run(data, max_epochs=4)
    return {
        "log": log,
        "samples": samples,
        "timed": timer.step_count,
        "files": sorted(file.name for file in (folder / "gan").iterdir()),
    }
