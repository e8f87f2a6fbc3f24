"""Pictures shown a little differently each time, so that a network does not learn them by heart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(images: Tensor) -> Tensor:
    """Images (N, 3, S, S), each moved by up to 4 %, scaled by up to 6 % and lit differently; in
    (N, 6, S, S) two and two alike.

    Differentiable: critics are shown photos and edits alike in this way, so that what they tell
    them apart by is not the jitter (Zhao et al. 2020, arXiv 2006.10738).
    """
    count, device = len(images), images.device
    scale = 1 + 0.06 * (2 * torch.rand(count, device=device) - 1)
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = 0.08 * (2 * torch.rand(count, 2, device=device) - 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    gain = 1 + 0.2 * (2 * torch.rand(count, 1, 1, 1, device=device) - 1)
    shift = 0.1 * (2 * torch.rand(count, 3, 1, 1, device=device) - 1)
    shift = shift.repeat(1, images.shape[1] // 3, 1, 1)
    return (moved * gain + shift).clamp(-1, 1)
