from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from pathlib import Path

    from warm_python import WarmPython

PROGRAM = """
import os, sys
import torch, torch.distributed as dist
from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint

rank, directory = int(sys.argv[1]), sys.argv[2]
handler = Checkpoint({"t": Engine(lambda engine, batch: None)}, os.path.join(directory, "early"), save_on_rank=1)
dist.init_process_group("gloo", init_method=f"file://{directory}/rendezvous", rank=rank, world_size=2)

class Counted:
    collected = 0
    def state_dict(self):
        Counted.collected += 1
        return {}
    def load_state_dict(self, state):
        pass

class Spread(Counted):
    def consolidate_state_dict(self, to):
        parts = [None, None] if rank == to else None
        dist.gather_object(rank, parts, dst=to)
        self.parts = parts
    def state_dict(self):
        return {"parts": self.parts}

torch.manual_seed(0)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
trainer = Engine(lambda engine, batch: (model(torch.ones(1, 2)).sum().backward(), optimizer.step()))
seen = []
trainer.add_event_handler(Checkpoint.SAVED_CHECKPOINT, lambda: seen.append(trainer.state.iteration))
objects = {"model": model, "spread": Spread(), "counted": Counted()}
latest = Checkpoint(objects, os.path.join(directory, "models"), n_saved=1, save_on_rank=1)
trainer.add_event_handler(Events.EPOCH_COMPLETED, latest)
trainer.add_event_handler(Events.EPOCH_COMPLETED, handler)
trainer.run([1, 2], max_epochs=3)
assert seen == [2, 2, 4, 4, 6, 6], seen
assert Counted.collected == (3 if rank == 1 else 0), Counted.collected
assert latest.last_checkpoint.name == "checkpoint_6.pt"
dist.barrier()
assert os.listdir(os.path.join(directory, "models")) == ["checkpoint_6.pt"]
assert os.listdir(os.path.join(directory, "early")) == ["t_6.pt"]

plain = torch.nn.Linear(2, 1)
Checkpoint.load_objects({"model": plain}, latest.last_checkpoint)
assert torch.equal(plain.weight, model.module.weight)
assert torch.load(latest.last_checkpoint)["spread"] == {"parts": [0, 1]}
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch cannot work with several processes")
def test_of_several_processes_one_collects_and_writes_and_all_know(warm_python: WarmPython, tmp_path: Path) -> None:
    for ran in [program.wait() for program in [warm_python.start("-c", PROGRAM, rank, tmp_path) for rank in range(2)]]:
        assert ran.returncode == 0, ran.stderr
