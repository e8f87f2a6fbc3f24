"""What a latent still says of the attributes, and how a run is doing on people it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.functional.image import peak_signal_noise_ratio
from torchvision.utils import make_grid

from fader_demo.attributes import AttributeSchema
from fader_demo.model import Fader
from train.data import PreparedFaces, encode
from train.losses import prediction_loss


def probe_auc(
    schema: AttributeSchema,
    train: tuple[Tensor, Tensor],
    held_out: tuple[Tensor, Tensor],
    hidden: int = 256,
    steps: int = 400,
    seed: int = 0,
) -> dict[str, float]:
    """AUC per attribute of a **fresh** probe, the only honest measure of what a latent gives away.

    train, held_out: latents (N, C, h, w) and labels (N, attributes). A two-layer perceptron (a
    linear probe for hidden=0) is trained on the first and judged on the second; 0.5 is chance.
    Continuous attributes are split at their training median, categorical ones averaged over
    classes. Attributes with one class only among the held-out faces are left out.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        latents, labels = train[0].flatten(1), train[1]
        mean, std = latents.mean(0), latents.std(0) + 1e-6
        net = _probe(latents.shape[1], hidden, schema.prediction_size).to(latents.device)
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-2)
        target = schema.target(labels)
        for _ in range(steps):
            chosen = torch.randint(len(latents), (256,), device=latents.device)
            logits = net((latents[chosen] - mean) / std)
            loss = prediction_loss(schema, logits, target[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            scores = net.eval()((held_out[0].flatten(1) - mean) / std)
    return _auc(schema, scores, held_out[1], labels)


class Evaluation:
    """A trainer callback: reconstruction, fresh probes and an image grid of validation people.

    probed: the training faces that the probes are trained on.
    """

    def __init__(
        self,
        averaged_fader: Callable[[], Fader],
        probed: PreparedFaces,
        validation: PreparedFaces,
        shown: int = 6,
    ) -> None:
        self.averaged_fader = averaged_fader
        self.probed = probed
        self.validation = validation
        self.shown = shown

    def __call__(self, step: int, writer: SummaryWriter) -> None:
        fader = self.averaged_fader()
        writer.add_scalar("validation/psnr", self.psnr(fader), step)
        held_out = encode(fader, self.validation), self.validation.labels
        train = encode(fader, self.probed), self.probed.labels
        for name, auc in probe_auc(fader.schema, train, held_out).items():
            writer.add_scalar(f"probe_auc/{name}", auc, step)
        writer.add_image("validation/edits", self.grid(fader), step)

    def psnr(self, fader: Fader) -> Tensor:
        """Peak signal-to-noise ratio, in dB, the mean over validation faces."""
        values = []
        device = next(fader.parameters()).device
        with torch.inference_mode():
            for part in torch.arange(len(self.validation)).split(64):
                batch = self.validation.batch(part).to(device)
                rebuilt = fader(batch.images, batch.values)[1]
                values.append(
                    peak_signal_noise_ratio(
                        rebuilt, batch.images, (-1.0, 1.0), reduction="none", dim=(1, 2, 3)
                    )
                )
        return torch.cat(values).mean()

    def grid(self, fader: Fader) -> Tensor:
        """(3, H, W) in [0, 1]: a row a person: photo, reconstruction, both ends of each slider."""
        indices = torch.linspace(0, len(self.validation) - 1, self.shown).long()
        batch = self.validation.batch(indices).to(next(fader.parameters()).device)
        columns = [batch.images]
        with torch.inference_mode():
            latent = fader.encode(batch.images, batch.values)
            columns.append(fader.decode(latent, batch.values))
            for values in slider_ends(fader.schema, batch.values):
                columns.append(fader.decode(latent, values))
        cells = torch.stack(columns, dim=1).flatten(0, 1)
        return make_grid(cells.clamp(-1, 1).add(1).div(2), nrow=len(columns), padding=1)


def slider_ends(schema: AttributeSchema, start: Tensor) -> Iterator[Tensor]:
    """Values (N, attributes) with each attribute in turn at the two ends of its slider."""
    for index, attribute in enumerate(schema):
        for end in attribute.ends:
            values = start.clone()
            values[:, index] = end
            yield values


def _probe(inputs: int, hidden: int, outputs: int) -> nn.Module:
    if not hidden:
        return nn.Linear(inputs, outputs)
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, outputs)
    )


def _auc(
    schema: AttributeSchema, scores: Tensor, labels: Tensor, train_labels: Tensor
) -> dict[str, float]:
    result = {}
    for index, (attribute, score) in enumerate(
        zip(schema, schema.split_prediction(scores), strict=True)
    ):
        column = labels[:, index]
        if attribute.kind == "categorical":
            truth = F.one_hot(column.long(), len(attribute.choices)).bool()
        elif attribute.kind == "continuous":
            truth = (column > train_labels[:, index].median()).unsqueeze(1)
            score = attribute.read(score).unsqueeze(1)
        else:
            truth = (column > 0.5).unsqueeze(1)
        values = [
            binary_auroc(score[:, k], truth[:, k].long()).item()
            for k in range(truth.shape[1])
            if 0 < truth[:, k].sum() < len(truth)
        ]
        if values:
            result[attribute.name] = sum(values) / len(values)
    return result
