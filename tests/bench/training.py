"""Images a second of a training step, beside a plain port of the published one.

    python -m tests.bench.training

Both train the shipped architecture at 128 px, with discriminator and without a critic, in turns, on
the same faces in memory. The plain port is what the method says, step by step: the encoder runs
once for the discriminator and once more for the autoencoder, the code is laid out as planes and
concatenated at every layer, pixels are converted face by face, all in float32.

Then what the paper's own setting (train/configs/paper-256.yaml) takes: a step's work and memory as
counted, the speed as measured here, and the days on a GPU that sustains SUSTAINED, an estimate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
import yaml
from accelerate import Accelerator
from PIL import Image
from skimage import data
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms.functional import to_tensor

from fader_demo.model import Decoder, Encoder, Fader, smooth
from tests.bench.table import Row, show
from train.config import Config
from train.data import Batch
from train.discriminator import LatentDiscriminator
from train.graph import WARM_UP
from train.objective import FaderTask, Objective

ROOT = Path(__file__).parents[2]
STEPS, ROUNDS = 6, 5
SUSTAINED = 1e13
"""Floating-point operations a second: what a current GPU keeps up on such layers in float32."""


def measure() -> Iterator[Row]:
    for name, figure in (rates() | paper_setting()).items():
        name, _, unit = name.rpartition(", ")
        yield {"figure": name, unit: figure}


def rates() -> dict[str, float]:
    """Images a second of either step, and how many times faster ours is; by name and unit."""
    content = yaml.safe_load((ROOT / "train" / "configs" / "faces.yaml").read_text())
    del content["fader"]["objective"]["guidance"]
    config = Config.of(content)
    faces = Faces(config.new_fader(), config.fader.batch_size)
    accelerator = Accelerator(mixed_precision=config.mixed_precision)
    ours = task_of(config, faces, accelerator)
    plain = PlainStep(config.new_fader(), config.fader.objective, accelerator.device)
    steps: dict[str, Callable[[], object]] = {
        "plain port of the published step, images/s": lambda: plain.step(faces),
        "our step, images/s": lambda: ours.step(faces.batch(), 10_000),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        _warm_up(step)
    for _ in range(ROUNDS):
        for name, step in steps.items():
            times[name].append(_seconds(step))
    found = {name: faces.size / median(each) for name, each in times.items()}
    port, own = found.values()
    return {**found, "our step over the plain port, times": own / port}


def paper_setting() -> dict[str, float]:
    """One step of the published setting: its work, its memory, and the days of a million."""
    config = Config.read(ROOT / "train" / "configs" / "paper-256.yaml")
    faces = Faces(config.new_fader(), config.fader.batch_size)
    task = task_of(config, faces, Accelerator())
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        FlopCounterMode(display=False) as counter,
    ):
        task.step(faces.batch(), 0)
    weights = sum(p.numel() for network in task.modules.values() for p in network.parameters())
    _warm_up(lambda: task.step(faces.batch(), 1))
    seconds = _seconds(lambda: task.step(faces.batch(), 1))
    steps = config.fader.trainer.steps
    work = counter.get_total_flops()
    return {
        "paper's setting, images/s": faces.size / seconds,
        "paper's setting, 10^9 multiply-adds an image": work / 2e9 / faces.size,
        # Weights, their gradients, two moments each; the average is among the networks.
        "paper's setting, GB of weights and activations": (16 * weights + sum(kept.values())) / 1e9,
        "paper's setting, all of it on this machine, days": steps * seconds / 86_400,
        "paper's setting, all of it on a GPU, estimated, days": steps * work / SUSTAINED / 86_400,
    }


def _warm_up(step: Callable[[], object]) -> None:
    for _ in range(WARM_UP + 1 if torch.cuda.is_available() else 1):
        step()


def _seconds(step: Callable[[], object]) -> float:
    """A step's, the mean of STEPS of them; a GPU is waited for."""
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / STEPS


def task_of(config: Config, faces: Faces, accelerator: Accelerator) -> FaderTask:
    return FaderTask(config.new_fader(), config.fader.objective, faces.prior, accelerator)


class Faces:
    """A batch of the astronaut at several places, as pixels and as training reads them."""

    def __init__(self, fader: Fader, size: int) -> None:
        self.size = size
        picture = Image.fromarray(data.astronaut())
        side = fader.image_size
        corners = [(20 + 3 * i, 10 + 2 * i) for i in range(size)]
        self.pictures = [
            picture.crop((x, y, x + 350, y + 350)).resize((side, side)) for x, y in corners
        ]
        self.labels = (torch.rand(size, len(fader.schema)) > 0.5).float()
        self.prior = fader.schema.target(self.labels).mean(0)
        self.pixels = torch.stack([(to_tensor(p) * 255).byte() for p in self.pictures])

    def batch(self) -> Batch:
        images = self.pixels.float().div_(127.5).sub_(1)
        images = images.contiguous(memory_format=torch.channels_last)
        return Batch(images, self.labels, self.labels)


class PlainStep:
    """One update of the discriminator, then one of encoder and decoder, as the paper has it."""

    def __init__(self, fader: Fader, objective: Objective, device: torch.device) -> None:
        self.device = device
        self.encoder: Encoder = fader.encoder.to(device)
        self.decoder: Decoder = fader.decoder.to(device)
        self.schema = fader.schema
        self.lambda_e = objective.lambda_e
        self.discriminator = LatentDiscriminator(
            fader.schema, fader.latent_shape, objective.discriminator_width
        ).to(device)
        both = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.of_autoencoder = torch.optim.Adam(both, 2e-4, betas=(0.5, 0.999))
        self.of_discriminator = torch.optim.Adam(
            self.discriminator.parameters(), 2e-4, betas=(0.5, 0.999)
        )

    def step(self, faces: Faces) -> None:
        images = torch.stack([to_tensor(picture) * 2 - 1 for picture in faces.pictures])
        images, labels = images.to(self.device), faces.labels.to(self.device)
        wanted = self.schema.target(labels)
        with torch.no_grad():
            latent = self.encoder(images)
        loss = F.binary_cross_entropy_with_logits(self.discriminator(latent), wanted)
        self._update(self.of_discriminator, loss, self.discriminator)
        latent = self.encoder(images)
        rebuilt = self._decoded(latent, self.schema.encode(labels))
        said = self.discriminator(latent)
        loss = F.mse_loss(rebuilt, images)
        loss = loss + self.lambda_e * F.binary_cross_entropy_with_logits(said, 1 - wanted)
        self._update(self.of_autoencoder, loss, self.encoder, self.decoder)

    def _decoded(self, x: Tensor, code: Tensor) -> Tensor:
        x = x + self.decoder.placement(code).view(x.shape)
        last = len(self.decoder.norms)
        for index, upsample in enumerate(self.decoder.upsamples):
            planes = code[:, :, None, None].expand(-1, -1, *x.shape[2:])
            x = upsample.conv(torch.cat([x, planes], dim=1))
            x = smooth(x) if index == last else F.relu(self.decoder.norms[index](x))
        return torch.tanh(x)

    def _update(self, optimizer: torch.optim.Adam, loss: Tensor, *modules: nn.Module) -> None:
        optimizer.zero_grad()
        loss.backward()
        for module in modules:
            nn.utils.clip_grad_norm_(module.parameters(), 5)
        optimizer.step()


if __name__ == "__main__":
    show(measure())
