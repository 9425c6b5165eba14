from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from camshaft.distributed._life import can_be_asked_about, is_over, own_life

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell")


def test_this_process_is_there():
    assert can_be_asked_about(own_life())
    assert not is_over(own_life())


def test_a_process_that_was_killed_is_over_although_nobody_has_asked_for_its_status():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    place, _, _ = own_life()
    begun = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    life = [place, str(child.pid), begun]
    assert not is_over(life)

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_over(life)

    child.communicate()
    assert is_over(life)


def test_another_process_of_the_same_number_is_not_taken_for_it():
    place, number, _ = own_life()
    assert is_over([place, number, "1"])


@pytest.mark.parametrize("life", [None, ["another machine", "1", "2"]])
def test_of_another_machine_nothing_is_known(life):
    assert not is_over(life)
    assert not can_be_asked_about(life)
