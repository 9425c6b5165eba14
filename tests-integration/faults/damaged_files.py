"""Damage the newest checkpoint in every way, and see that it is noticed and the one before is restored.

Each case writes a damaged copy of the newest file beside an older sound one and restores. Right is: the
older one is loaded and both are named in the report, or what was loaded is bit for bit what was saved.
"""

from __future__ import annotations

import io
import random
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from outcome import Outcome
from torch import nn

from camshaft.engine import Engine, EngineWarning
from camshaft.handlers import Checkpoint, DiskSaver, restore_latest

BLOCK_BYTES = 4096
Damage = Callable[[bytearray, random.Random], None]


def flip_a_bit(content: bytearray, choose: random.Random) -> None:
    content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)


def cut_off(content: bytearray, choose: random.Random) -> None:
    del content[choose.randrange(len(content)) :]


def zero_a_block(content: bytearray, choose: random.Random) -> None:
    start = choose.randrange(0, len(content), BLOCK_BYTES)
    end = min(start + BLOCK_BYTES, len(content))
    content[start:end] = bytes(end - start)


def swap_two_blocks(content: bytearray, choose: random.Random) -> None:
    blocks = range(0, len(content) - BLOCK_BYTES, BLOCK_BYTES)
    one, other = choose.sample(blocks, 2)
    first, second = content[one : one + BLOCK_BYTES], content[other : other + BLOCK_BYTES]
    content[one : one + BLOCK_BYTES], content[other : other + BLOCK_BYTES] = second, first


def swap_two_records(content: bytearray, choose: random.Random) -> None:
    """Exchange two tensors of one size."""
    starts: dict[int, list[int]] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            name_bytes, extra_bytes = struct.unpack_from("<2H", content, entry.header_offset + 26)
            starts.setdefault(entry.file_size, []).append(entry.header_offset + 30 + name_bytes + extra_bytes)
    size_bytes, places = choose.choice([each for each in starts.items() if each[0] > 100 and len(each[1]) > 1])
    one, other = choose.sample(places, 2)
    first, second = content[one : one + size_bytes], content[other : other + size_bytes]
    content[one : one + size_bytes], content[other : other + size_bytes] = second, first


# Name, what is done, and how often in the full count and in the slice.
DAMAGES: tuple[tuple[str, Damage, int, int], ...] = (
    ("bit flips", flip_a_bit, 10_000, 150),
    ("truncations", cut_off, 1_000, 30),
    ("zeroed blocks", zero_a_block, 1_000, 30),
    ("swapped blocks", swap_two_blocks, 500, 20),
    ("swapped records", swap_two_records, 500, 20),
)
KINDS = ("own", "plain")


class Files:
    """A directory with an older checkpoint, and the newest one, which is damaged again and again."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.model = nn.Linear(60, 60)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.objects: dict[str, nn.Module | torch.optim.Optimizer] = {"model": self.model, "optimizer": self.optimizer}
        self.model(torch.ones(60)).sum().backward()
        self.older, self.newest = directory / "checkpoint_1.pt", directory / "checkpoint_2.pt"
        engine: Engine[None, None] = Engine(lambda engine, batch: None)
        save = Checkpoint(self.objects, DiskSaver(directory), n_saved=None)
        for engine.state.iteration in (1, 2):
            self.optimizer.step()
            save(engine)
        self.saved = self.states()
        if kind == "plain":
            self.older.unlink()
            torch.save({name: each.state_dict() for name, each in self.objects.items()}, self.newest)
            torch.save(torch.load(self.newest), self.older)
        self.content = self.newest.read_bytes()

    def states(self) -> list[torch.Tensor]:
        """Return every tensor of the objects."""
        momenta = [state["momentum_buffer"] for state in self.optimizer.state.values()]
        return [each.detach().clone() for each in (*self.model.parameters(), *momenta)]

    def forget(self) -> None:
        """Change the objects, so that what is restored can be told from what was there."""
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.zero_()

    def is_noticed(self, damage: Damage, choose: random.Random) -> bool:
        """Damage the newest file, restore, and tell whether that went as promised."""
        content = bytearray(self.content)
        damage(content, choose)
        self.newest.write_bytes(content)
        self.forget()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EngineWarning)
            report = restore_latest(self.newest.parent, self.objects)
        if report.path == self.older:
            return [path for path, _ in report.skipped] == [self.newest]
        return all(map(torch.equal, self.states(), self.saved))


def run(full: bool) -> Outcome:
    """Try every kind of damage on files of ours and of plain `torch.save`."""
    cases = losses = 0
    choose = random.Random(0)
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as name:
            files = Files(Path(name), kind)
            for _, damage, often, seldom in DAMAGES:
                for _ in range((often if full else seldom) // len(KINDS)):
                    cases += 1
                    losses += not files.is_noticed(damage, choose)
    counts = ", ".join(f"{often if full else seldom} {name}" for name, _, often, seldom in DAMAGES)
    return Outcome("G9 damaged files", cases, losses, counts)
