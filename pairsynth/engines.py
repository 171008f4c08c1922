"""Engines that distribute tasks to workers, each of which loads networks of its own.

The outcome of a task depends on the task alone, so all engines give the same result, in whatever
order they finish.
"""

import importlib
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from pairsynth.errors import InputError
from pairsynth.memory import available


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress on `task`: `steps` more are done; the last one carries the outcome."""

    task: Any
    steps: int
    outcome: Any = None


Worker = Callable[[Any], Iterator[Progress]]


class WorkerFactory(Protocol):
    """Builds a worker in any process; it is sent there by pickle."""

    @property
    def gpus(self) -> int:
        """GPUs of this machine for workers, one each; 0: workers use none."""

    @property
    def memory(self) -> int:
        """Estimated memory of a worker in bytes."""

    def open(self, place: int) -> Worker:
        """Worker number `place`, with everything it needs loaded."""


Engine = Callable[[WorkerFactory, Sequence[Any], int], Iterator[Progress]]


def run(
    name: str, factory: WorkerFactory, tasks: Sequence[Any], workers: int
) -> Iterator[Progress]:
    """Let the engine of `ENGINES` called `name` do all `tasks`.

    workers: how many; 0: as many as there is room for.

    Raises:
        InputError: for an unknown name; one raised by a worker; where a worker was killed.
    """
    if name not in ENGINES:
        raise InputError(f"--engine {name}: give one of {', '.join(ENGINES)}")
    if tasks:
        yield from ENGINES[name](factory, tasks, workers)


def places(factory: WorkerFactory) -> int:
    """How many workers fit this machine's processors or GPUs, and its memory."""
    if factory.gpus:
        return factory.gpus
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return max(1, min(cores, available() // factory.memory))


# ---------------------------------------------------------------- processes of this machine


def local(factory: WorkerFactory, tasks: Sequence[Any], workers: int) -> Iterator[Progress]:
    """Run the tasks in `workers` processes of this machine, or in this process if it is one."""
    workers = min(workers or places(factory), len(tasks))
    if workers == 1:
        work = factory.open(0)
        for task in tasks:
            yield from work(task)
        return
    context = multiprocessing.get_context("spawn")
    crew: dict[Connection, Any] = {}
    try:
        todo = iter(tasks)
        for place in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(factory, place, theirs), daemon=True)
            process.start()
            theirs.close()
            crew[ours] = process
            _hand_on(crew, ours, todo)
        while crew:
            yield from _hear(crew, todo)
    finally:
        for process in crew.values():
            process.terminate()
        for process in crew.values():
            process.join()


def _serve(factory: WorkerFactory, place: int, boss: Connection) -> None:
    """The loop of a worker process: do tasks until None arrives or the first process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to deal with
    try:
        work = factory.open(place)
        while (task := boss.recv()) is not None:
            for report in work(task):
                boss.send(report)
    except (EOFError, BrokenPipeError):
        return  # the first process is gone
    except Exception as error:
        boss.send(error if _travels(error) else RuntimeError(repr(error)))


def _travels(error: Exception) -> bool:
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        return False


def _hear(crew: dict[Connection, Any], todo: Iterator[Any]) -> Iterator[Progress]:
    """Progress of the workers that are ready; one whose task is done gets the next, or ends."""
    for ready in wait(list(crew)):
        assert isinstance(ready, Connection)
        try:
            said = ready.recv()
        except (EOFError, ConnectionResetError) as error:
            process = crew.pop(ready)
            process.join()
            raise InputError(
                f"a worker process was ended from outside (exit code {process.exitcode}); if "
                "memory is short, take fewer --workers"
            ) from error
        if isinstance(said, Exception):
            raise said
        yield said
        if said.outcome is not None:
            _hand_on(crew, ready, todo)


def _hand_on(crew: dict[Connection, Any], worker: Connection, todo: Iterator[Any]) -> None:
    task = next(todo, None)
    worker.send(task)
    if task is None:
        crew.pop(worker).join()
        worker.close()


# ---------------------------------------------------------------- a cluster of Ray's


def on_ray(factory: WorkerFactory, tasks: Sequence[Any], workers: int) -> Iterator[Progress]:
    """Run the tasks as Ray actors, on the cluster that RAY_ADDRESS names or on this machine.

    Each actor has networks of its own, on a processor, or on a GPU where the factory uses them.

    Raises:
        InputError: where Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise InputError("--engine ray: Ray is not here; pip install 'pairsynth[ray]'") from error
    # Of a cluster that is there, nothing is asked; one of this run's own is as large as it needs.
    own = None if os.environ.get("RAY_ADDRESS") else workers or places(factory)
    ray.init(num_cpus=own, include_dashboard=False, log_to_driver=False)
    try:
        there = int(ray.cluster_resources().get("GPU" if factory.gpus else "CPU", 1))
        kind = ray.remote(num_cpus=1, num_gpus=min(1, factory.gpus))(_Actor)
        actors = [kind.remote(factory) for _ in range(min(workers or there, len(tasks)))]
        yield from _attend(ray, actors, tasks)
    finally:
        ray.shutdown()


class _Actor:
    """A worker as a Ray actor."""

    def __init__(self, factory: WorkerFactory) -> None:
        self.factory = factory
        self.worker: Worker | None = None

    def work(self, task: Any) -> Iterator[Progress | Exception]:
        """Progress of the task; an InputError is passed on as the last item."""
        try:
            self.worker = self.worker or self.factory.open(0)
            yield from self.worker(task)
        except InputError as error:
            yield error


def _attend(ray: Any, actors: Sequence[Any], tasks: Sequence[Any]) -> Iterator[Progress]:
    todo = iter(tasks)

    def begin(actor: Any) -> dict[Any, Any]:
        task = next(todo, None)
        start = actor.work.options(num_returns="streaming")
        return {} if task is None else {start.remote(task): actor}

    running: dict[Any, Any] = {}
    for actor in actors:
        running |= begin(actor)
    while running:
        [stream], _ = ray.wait(list(running), num_returns=1)
        try:
            said = ray.get(next(stream))
        except StopIteration:
            running |= begin(running.pop(stream))
            continue
        if isinstance(said, Exception):
            raise said
        yield said


ENGINES: Mapping[str, Engine] = {"local": local, "ray": on_ray}
