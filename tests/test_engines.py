"""Engines: whoever does the tasks, the outcomes are the same; errors and ends are told."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pairsynth import engines
from pairsynth.engines import ENGINES, Progress, Worker
from pairsynth.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Squares:
    """Workers that square numbers; of some they cannot. Each leaves its process's number."""

    folder: Path
    gpus: int = 0
    memory: int = 1

    def open(self, place: int) -> Worker:
        (self.folder / str(os.getpid())).write_text(str(place))
        return self.square

    def square(self, task: int) -> Iterator[Progress]:
        if task == 13:
            raise InputError("13 is no number to square; give another")
        if task == 14:
            raise KeyError(task)
        if task == 15:
            os.kill(os.getpid(), signal.SIGKILL)
        yield Progress(task=task, steps=1)
        time.sleep(0.05)
        yield Progress(task=task, steps=2, outcome=task * task)


def outcomes(reports: Iterator[Progress]) -> dict[int, int]:
    told = list(reports)
    assert sum(report.steps for report in told) == 3 * sum(bool(r.outcome) for r in told)
    return {report.task: report.outcome for report in told if report.outcome is not None}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_processes_do_all_tasks(tmp_path: Path, workers: int) -> None:
    found = outcomes(engines.run("local", Squares(folder=tmp_path), range(1, 8), workers))
    assert found == {i: i * i for i in range(1, 8)}
    places = sorted(int(path.read_text()) for path in tmp_path.iterdir())
    assert places == list(range(workers))
    assert (str(os.getpid()) in os.listdir(tmp_path)) == (workers == 1)


def test_rays_workers_do_all_tasks(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    found = outcomes(engines.run("ray", Squares(folder=tmp_path), range(1, 8), 2))
    assert found == {i: i * i for i in range(1, 8)}
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(InputError, match="13 is no number to square"):
        list(engines.run("ray", Squares(folder=tmp_path), [1, 13], 2))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_workers_error_is_told_as_it_is(tmp_path: Path, workers: int) -> None:
    factory = Squares(folder=tmp_path)
    with pytest.raises(InputError, match=r"^13 is no number to square; give another$"):
        list(engines.run("local", factory, [1, 13, 2], workers))
    with pytest.raises(KeyError, match="14"):
        list(engines.run("local", factory, [1, 14, 2], workers))


def test_a_worker_that_is_killed_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ended from outside \(exit code -9\); if memory is sho"):
        list(engines.run("local", Squares(folder=tmp_path), [1, 15, 2], 2))


def test_no_worker_is_left_when_the_run_is_left(tmp_path: Path) -> None:
    reports = engines.run("local", Squares(folder=tmp_path), range(100, 200), 2)
    next(reports)
    reports.close()  # type: ignore[attr-defined]
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_tasks_need_no_workers(tmp_path: Path, engine: str) -> None:
    assert list(engines.run(engine, Squares(folder=tmp_path), [], 0)) == []
    assert not list(tmp_path.iterdir())


def test_an_engine_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--engine slurm: give one of local, ray"):
        list(engines.run("slurm", Squares(folder=tmp_path), [1], 0))


def test_without_ray_its_engine_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(InputError, match=r"--engine ray: .*; pip install 'pairsynth\[ray\]'"):
        list(engines.run("ray", Squares(folder=tmp_path), [1], 1))


def test_as_many_workers_as_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(engines, "available", lambda: 100)
    assert engines.places(Squares(folder=tmp_path)) == 8
    assert engines.places(Squares(folder=tmp_path, memory=30)) == 3
    assert engines.places(Squares(folder=tmp_path, memory=300)) == 1
    assert engines.places(Squares(folder=tmp_path, gpus=2)) == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert engines.places(Squares(folder=tmp_path)) == 5
