import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from camshaft.deterministic import DeterministicEngine
from camshaft.engine import Events


class Noisy(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.rand(2)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_deterministic_evaluation_leaves_the_steps_numbers_as_they_are_with_any_number_of_workers(workers):
    def run(workers):
        trainer, drawn = DeterministicEngine(lambda engine, batch: drawn.append(torch.rand(()).item())), []
        evaluator = DeterministicEngine(lambda engine, batch: torch.rand(()))
        validation = DataLoader(Noisy(), batch_size=4, num_workers=workers)
        trainer.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda: evaluator.run(validation, seed=1))
        trainer.run(DataLoader(Noisy(), batch_size=2, shuffle=True), max_epochs=2, seed=3)
        return drawn

    assert run(0) == run(workers)


@pytest.mark.parametrize("iteration", [1, 3, 4])
def test_handlers_find_the_last_output_after_resuming(iteration):
    def train(log, state=None):
        engine, states = DeterministicEngine(lambda engine, batch: batch.mean()), []
        if state is not None:
            engine.load_state_dict(state)
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: log.append(engine.state.output.item()))
        engine.add_event_handler(Events.GET_BATCH_STARTED(after=iteration - 1), lambda: log.append(engine.state.output))
        save = Events.ITERATION_COMPLETED(once=iteration)
        engine.add_event_handler(save, lambda: engine.at_safe_point(lambda: states.append(engine.state_dict())))
        if state is None:
            engine.add_event_handler(save, log.clear)
        engine.run(DataLoader(Noisy(), batch_size=2, shuffle=True), max_epochs=2, seed=3)
        return states

    whole, rest = [], []
    (state,) = train(whole)
    train(rest, state)

    assert whole == rest
