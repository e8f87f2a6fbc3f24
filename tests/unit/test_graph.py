"""A step as one CUDA graph is the step it was captured from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from train.data import Batch
from train.graph import WARM_UP, CapturedUpdate, Update

CALLS = WARM_UP + 8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_replays_learn_what_calls_do() -> None:
    """With noise of their own seed, a rate and a weight that change, and another batch each."""
    logged, weights = _trained(lambda update: update)
    logged_of_graph, weights_of_graph = _trained(CapturedUpdate)
    torch.testing.assert_close(logged_of_graph, logged)
    torch.testing.assert_close(weights_of_graph, weights)


def _trained(wrapped: Callable[[Update], Update]) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 3)).cuda()
    rate, weight = torch.tensor(0.0, device="cuda"), torch.tensor(0.0, device="cuda")
    optimizer = torch.optim.Adam(network.parameters(), rate, fused=True, capturable=True)

    def update(batch: Batch) -> dict[str, Tensor]:
        said = network(batch.images + torch.randn_like(batch.images)).mean((2, 3))
        loss = (said - batch.labels).square().mean() + weight * said.square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return {"loss": loss, "said": said.mean()}

    step, logged = wrapped(update), []
    for call in range(CALLS):
        torch.manual_seed(call)
        images, labels = torch.rand(4, 3, 8, 8, device="cuda"), torch.rand(4, 2, device="cuda")
        optimizer.param_groups[0]["lr"].fill_(1e-2 / (1 + call))
        weight.fill_(0.1 * call)
        logged.append(torch.stack([*step(Batch(images, labels, labels)).values()]).detach())
    return torch.stack(logged), torch.cat([p.detach().flatten() for p in network.parameters()])
