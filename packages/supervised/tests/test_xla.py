"""The steps on a real XLA device: the CPU, seen through torch_xla. Needs the extra `xla`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("torch_xla")

TRAIN_AND_EVALUATE = """
import json, sys
import torch, torch_xla
from camshaft.engine import Events
from camshaft.supervised import create_supervised_evaluator, create_supervised_trainer

def train(device, amp_mode, **options):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).to(device)
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.1), []
    data = [(torch.randn(4, 3), torch.randn(4, 1)) for _ in range(7)]
    loss_fn = torch.nn.functional.mse_loss
    trainer = create_supervised_trainer(model, optimizer, loss_fn, device=device, amp_mode=amp_mode, **options)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: losses.append(trainer.state.output))
    trainer.run(data, max_epochs=3)
    y_pred, _ = create_supervised_evaluator(model, device=device, amp_mode=amp_mode).run(data).output
    return [loss.item() for loss in losses] + y_pred.float().flatten().tolist()

options = json.loads(sys.argv[1])
# In this order: autograd must know the device before its first backward pass.
print(json.dumps([train(device, **options) for device in ("xla", "cpu")]))
"""


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({"amp_mode": None}, 1e-5),
        ({"amp_mode": None, "gradient_accumulation_steps": 3}, 1e-5),
        ({"amp_mode": None, "clip_grad_norm": 0.5}, 1e-5),
        ({"amp_mode": "amp"}, 0.05),
    ],
    ids=["plain", "accumulated", "clipped", "bfloat16"],
)
def test_training_and_evaluation_agree_with_those_on_the_cpu(options, tolerance):
    command = [sys.executable, "-c", TRAIN_AND_EVALUATE, json.dumps(options)]
    ran = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PJRT_DEVICE": "CPU"}, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stderr

    on_xla, on_cpu = json.loads(ran.stdout)
    assert on_xla == pytest.approx(on_cpu, rel=tolerance, abs=tolerance)
