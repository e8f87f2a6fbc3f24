"""The training loop: steps, logs, checkpoints, resume. Knows nothing of what it trains."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from train.files import write_tensors

CHECKPOINT = "checkpoint.safetensors"


class TrainingDiverged(RuntimeError):
    """A loss or a weight is no finite number any more; the message names the last checkpoint."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be resumed from; the message says why and what to do."""


Given = TypeVar("Given", contravariant=True)


class Task(Protocol[Given]):
    """What is trained. Everything in ``modules`` and ``optimizers`` goes into the checkpoint."""

    modules: dict[str, nn.Module]
    optimizers: dict[str, Any]

    def step(self, batch: Given, step: int) -> dict[str, Tensor]:
        """One update of every network; returns scalars to log."""
        ...


Callback = Callable[[int, SummaryWriter], None]


@dataclass(frozen=True)
class TrainerSettings:
    """steps: updates in all. checkpoint_minutes: what a killed run loses at most."""

    steps: int = 100_000
    seed: int = 0
    checkpoint_minutes: float = 5.0
    log_every: int = 50
    evaluate_every: int = 2_000


def average_decay(limit: float, step: int) -> float:
    """Of an exponential average of weights, at a step: its limit, less at first.

    The average of a short run would end near where the run began.
    """
    return min(limit, (1 + step) / (10 + step))


class Trainer(Generic[Given]):
    """Runs a task to ``settings.steps``, from its last checkpoint in ``folder`` if there is one.

    Every step draws its batch and its random numbers from (seed, step), so an interrupted run
    goes on exactly as an uninterrupted one would have.
    """

    def __init__(
        self,
        task: Task[Given],
        batch_of: Callable[[int], Given],
        folder: Path,
        settings: TrainerSettings,
        accelerator: Accelerator,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.task = task
        self.batch_of = batch_of
        self.folder = folder
        self.settings = settings
        self.accelerator = accelerator
        self.callbacks = callbacks
        self._stop = False

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    def fit(self) -> int:
        """Trains; returns the number of steps done. Ctrl-C and SIGTERM save and end cleanly."""
        self.folder.mkdir(parents=True, exist_ok=True)
        step = self.resume()
        writer = SummaryWriter(str(self.folder / "logs"), purge_step=step)
        progress = tqdm(
            total=self.settings.steps,
            initial=step,
            unit="step",
            dynamic_ncols=True,
            disable=not self.accelerator.is_main_process,
        )
        with self._signals(), writer, progress:
            saved = time.monotonic()
            logged: list[dict[str, Tensor]] = []
            while step < self.settings.steps and not self._stopped():
                set_seed(_step_seed(self.settings.seed, step, self.accelerator.process_index))
                logged.append(self.task.step(self.batch_of(step), step))
                step += 1
                progress.update()
                if step % self.settings.log_every == 0:
                    self._log(writer, progress, step, logged)
                    logged = []
                if time.monotonic() - saved > 60 * self.settings.checkpoint_minutes:
                    self.save(step)
                    saved = time.monotonic()
                if step % self.settings.evaluate_every == 0:
                    self._evaluate(step, writer)
            self.save(step)
        return step

    def save(self, step: int) -> None:
        """Writes the checkpoint beside the old one, then puts it in its place.

        A full disk is reported and costs nothing: the run goes on, the old checkpoint stays.
        """
        if not self.accelerator.is_main_process:
            return
        tensors = self._tensors()
        if not all(t.isfinite().all() for t in tensors.values() if t.is_floating_point()):
            raise TrainingDiverged(f"A weight is not finite at step {step}. {self._last_good()}")
        try:
            write_tensors(self.checkpoint, tensors, {"step": str(step)})
        except OSError as error:
            self.accelerator.print(f"Checkpoint at step {step} could not be written: {error}")

    def resume(self) -> int:
        """Loads the folder's checkpoint; returns its step, 0 where there is none."""
        if not self.checkpoint.exists():
            return 0
        try:
            with safe_open(str(self.checkpoint), "pt") as file:
                step = int((file.metadata() or {})["step"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"{self.checkpoint} is damaged ({error}). Remove it to start anew."
            ) from error
        try:
            for name, module in self.task.modules.items():
                self.accelerator.unwrap_model(module).load_state_dict(_under(tensors, name))
            for name, optimizer in self.task.optimizers.items():
                _load_optimizer(optimizer, _under(tensors, f"optimizer.{name}"))
        except (RuntimeError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"{self.checkpoint} was written by a run with other settings ({error}). "
                "Give this run a folder of its own."
            ) from error
        return step

    def _tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for name, module in self.task.modules.items():
            state = self.accelerator.unwrap_model(module).state_dict()
            tensors |= {f"{name}.{key}": value for key, value in state.items()}
        for name, optimizer in self.task.optimizers.items():
            for index, state in optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"optimizer.{name}.{index}.{key}"] = torch.as_tensor(value)
        return tensors

    def _log(
        self, writer: SummaryWriter, progress: tqdm, step: int, logged: list[dict[str, Tensor]]
    ) -> None:
        means = {
            key: torch.stack([entry[key].detach().float() for entry in logged]).mean().item()
            for key in logged[0]
        }
        if not all(value == value and abs(value) != float("inf") for value in means.values()):
            raise TrainingDiverged(f"The loss is not finite at step {step}. {self._last_good()}")
        if self.accelerator.is_main_process:
            for key, value in means.items():
                writer.add_scalar(key, value, step)
            progress.set_postfix({key: f"{value:.4g}" for key, value in means.items()})

    def _evaluate(self, step: int, writer: SummaryWriter) -> None:
        if self.accelerator.is_main_process:
            for callback in self.callbacks:
                callback(step, writer)
        self.accelerator.wait_for_everyone()

    def _last_good(self) -> str:
        if self.checkpoint.exists():
            return f"The last good checkpoint is {self.checkpoint}; lower the learning rate."
        return "No checkpoint had been written yet; lower the learning rate."

    def _stopped(self) -> bool:
        """Whether any process was asked to stop: all of them have to leave at the same step."""
        if self.accelerator.num_processes == 1:
            return self._stop
        flag = torch.tensor(float(self._stop), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum") > 0)

    @contextmanager
    def _signals(self) -> Any:
        def stop(number: int, frame: Any) -> None:
            self._stop = True

        before = {sig: signal.signal(sig, stop) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def _step_seed(seed: int, step: int, rank: int) -> int:
    return (seed * 1_000_003 + step * 1_009 + rank) % 2**31


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix + "."): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix + ".")
    }


def _load_optimizer(optimizer: Any, tensors: dict[str, Tensor]) -> None:
    groups = optimizer.state_dict()["param_groups"]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        like = parameters[int(index)]
        if tensor.shape == like.shape:  # in its parameter's memory layout, as fused steps assume
            tensor = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": groups})
