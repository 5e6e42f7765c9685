"""How many cores a process may use."""

import os

import pytest

from pipeline.system import cpu


def test_cores_of_a_container():
    """There is at least one core, and none that this process may not use."""
    assert 1 <= cpu.thread_cores() <= cpu.available_cores() <= len(os.sched_getaffinity(0))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of four cores that run two threads each; a function that writes its files."""
    monkeypatch.setattr(cpu, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cpu, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(cpu, "_CORES", tmp_path / "cores")
    monkeypatch.setattr(cpu, "_usable", lambda: set(range(8)))

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    for number in range(8):
        write(f"cores/cpu{number}/topology/physical_package_id", "0")
        write(f"cores/cpu{number}/topology/core_id", str(number % 4))
    return write


@pytest.mark.parametrize(
    ("files", "available", "for_threads"),
    [
        ({}, 8, 4),
        ({"groups/cpu.max": "max 100000"}, 8, 4),
        ({"groups/cpu.max": "250000 100000"}, 3, 2),
        ({"groups/cpu.max": "50000 100000"}, 1, 1),
        (  # of a service: its own group has no limit, the one around it has
            {
                "own": "0::/user.slice/job.scope",
                "groups/user.slice/job.scope/cpu.max": "max 100000",
                "groups/user.slice/cpu.max": "150000 100000",
            },
            2,
            1,
        ),
        (  # groups of the first version
            {
                "own": "5:cpu,cpuacct:/docker/abc",
                "groups/cpu/cpu.cfs_quota_us": "-1",
                "groups/cpu/cpu.cfs_period_us": "100000",
                "groups/cpu/docker/abc/cpu.cfs_quota_us": "300000",
                "groups/cpu/docker/abc/cpu.cfs_period_us": "100000",
            },
            3,
            3,
        ),
    ],
)
def test_limits(machine, files, available, for_threads):
    """The tightest limit counts; threads have whole cores alone, which do not run two of them at a time."""
    for name, text in files.items():
        machine(name, text)
    assert (cpu.available_cores(), cpu.thread_cores()) == (available, for_threads)
