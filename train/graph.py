"""A training step as one CUDA graph: launched whole, not kernel by kernel.

Steps of small networks are a couple of thousand kernels of a few microseconds each, and a CPU takes
several times as long to launch them as a GPU to run them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch
from torch import Tensor

from train.data import Batch

Update = Callable[[Batch], dict[str, Tensor]]

WARM_UP = 4
"""Calls in which libraries choose their algorithms and optimizers make their state."""


class CapturedUpdate:
    """An update that is captured after WARM_UP calls; from then on calls replay what was captured.

    Batches have to be on the GPU and all of one shape. What else differs from call to call must be
    in tensors there, changed in place, and the update may neither wait for the GPU nor copy
    anything to it. Random numbers go on from the GPU's generator as they do without a graph. It
    returns scalars to log.
    """

    def __init__(self, update: Update) -> None:
        self._update = update
        self._calls = 0
        self._stream = torch.cuda.Stream()
        self._graph = torch.cuda.CUDAGraph()

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        self._calls += 1
        if self._calls <= WARM_UP:
            return self._warm_up(batch)
        if self._calls == WARM_UP + 1:
            self._capture(batch)
        for held, given in zip(self._batch, batch.tensors, strict=True):
            held.copy_(given)
        self._graph.replay()
        return dict(zip(self._names, self._figures.clone().unbind(), strict=True))

    def _warm_up(self, batch: Batch) -> dict[str, Tensor]:
        """On a stream of its own, as a capture will be."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            logged = self._update(batch)
        torch.cuda.current_stream().wait_stream(self._stream)
        return logged

    def _capture(self, batch: Batch) -> None:
        self._batch = tuple(tensor.clone() for tensor in batch.tensors)
        gc.collect()  # memory of the GPU that is freed meanwhile would spoil it
        with torch.cuda.graph(self._graph):
            logged = self._update(Batch(*self._batch))
            self._figures = torch.stack([figure.detach().float() for figure in logged.values()])
        self._names = tuple(logged)
