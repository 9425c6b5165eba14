"""Reinforcement learning: an episode is an epoch, its end `terminate_epoch`, success `terminate`."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributions import Categorical

from ignite.engine import Engine, EventEnum, Events


class EpisodeEvents(EventEnum):
    """The events of an episode."""

    EPISODE_STARTED = "episode_started"
    EPISODE_COMPLETED = "episode_completed"


class Walk:
    """A walker on a line of eleven places, who starts in the middle and gets a reward for each step to the right."""

    def reset(self) -> torch.Tensor:
        self.place = 5
        return self.observe()

    def observe(self) -> torch.Tensor:
        return torch.tensor([self.place / 10, 1.0])

    def step(self, action: int) -> tuple[torch.Tensor, float, bool]:
        self.place += 1 if action else -1
        return self.observe(), 1.0 if action else -1.0, self.place in {0, 10}


def main(folder: Path) -> dict[str, Any]:
    """Learn to walk to the right."""
    torch.manual_seed(7)
    env, policy = Walk(), nn.Linear(2, 2)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.1)
    episodes: list[Any] = []

    def run_single_timestep(engine: Any, timestep: int) -> bool:
        distribution = Categorical(logits=policy(engine.state.observation))
        action = distribution.sample()
        engine.state.observation, reward, done = env.step(int(action))
        engine.state.log_probs.append(distribution.log_prob(action))
        engine.state.rewards.append(reward)
        return done

    trainer = Engine(run_single_timestep)
    trainer.register_events(*EpisodeEvents)

    @trainer.on(Events.EPOCH_STARTED)
    def start_episode(engine: Any) -> None:
        engine.state.observation = env.reset()
        engine.state.log_probs, engine.state.rewards = [], []
        engine.fire_event(EpisodeEvents.EPISODE_STARTED)

    @trainer.on(Events.ITERATION_COMPLETED)
    def should_finish_episode(engine: Any) -> None:
        if engine.state.output:
            engine.terminate_epoch()

    @trainer.on(Events.EPOCH_COMPLETED)
    def finish_episode(engine: Any) -> None:
        returns = torch.tensor(engine.state.rewards).flip(0).cumsum(0).flip(0)
        loss = -(torch.stack(engine.state.log_probs) * returns).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        engine.fire_event(EpisodeEvents.EPISODE_COMPLETED)

    @trainer.on(EpisodeEvents.EPISODE_COMPLETED)
    def log_episode(engine: Any) -> None:
        episodes.append([engine.state.epoch, len(engine.state.rewards), sum(engine.state.rewards)])

    @trainer.on(Events.EPOCH_COMPLETED)
    def should_finish_training(engine: Any) -> None:
        if len(episodes) >= 5 and all(reward == 5.0 and steps == 5 for _, steps, reward in episodes[-5:]):
            engine.terminate()

    state = trainer.run(count(), max_epochs=100, epoch_length=200)
    return {"episodes": episodes, "position": [state.epoch, state.iteration], "weights": float(policy.weight.sum())}
