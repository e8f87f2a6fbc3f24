"""The figures of metrics.json as Markdown, and a card that is kept up to date with them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from train.bootstrap import Figure
from train.edits import DIRECTIONS
from train.estimation import READ_AT
from train.files import write_atomically
from train.identity import STRANGERS

PLACE = re.compile("(<!-- figures -->\n).*(\n<!-- end of figures -->)", re.DOTALL)
"""What stands between these two lines of a card is written by ``update``."""
LARGE = 0.5
"""Side effects, in distances between average faces, that are told one by one."""


def update(card: Path, metrics: dict[str, Any]) -> None:
    """Puts the figures where a card has a place for them; no card, or no place, stays as it is."""
    if card.is_file():
        figures = report(metrics)
        text = card.read_text(encoding="utf-8")
        write_atomically(card, PLACE.sub(lambda place: place[1] + figures + place[2], text))


def report(metrics: dict[str, Any]) -> str:
    """The figures as Markdown: how attributes are read and moved, then what else edits do."""
    psnr, ssim = (metrics["reconstruction"][name] for name in ("psnr", "ssim"))
    attributes = {n: f for n, f in metrics["attributes"].items() if "judge_auc" in f}
    lines = [
        f"{metrics['faces']} faces of {metrics['people']} people ({metrics['split']}). "
        f"Reconstruction {psnr['mean']:.2f} dB [{psnr['low']:.2f}, {psnr['high']:.2f}], "
        f"SSIM {ssim['mean']:.3f} [{ssim['low']:.3f}, {ssim['high']:.3f}].",
        "",
        "| attribute | judge on photos | estimator on photos | on, at 1 | on, at the end "
        "| off, at 0 | off, at the end | swap, at the labels / ends | rank correlation "
        "| probe AUC, linear / MLP |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, figures in attributes.items():
        edits = [f"{way}_at_{place}" for way in DIRECTIONS for place in ("label", "end")]
        cells = [
            name,
            _cell(figures["judge_balanced_accuracy"]),
            _cell(figures["estimator_balanced_accuracy"]),
            *(_cell(figures.get(edit)) for edit in edits),
            _swaps(figures),
            _cell(figures["spearman"]),
            f"{figures['probe_linear']:.2f} / {figures['probe_mlp']:.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    second = _second_table(attributes, metrics.get("whole_photos"))
    parts = [lines, second, _reliability_table(attributes), _identity(attributes, metrics)]
    return "\n\n".join("\n".join(part) for part in [*parts, _side_effects(attributes)])


def _second_table(
    attributes: dict[str, dict[str, Any]], whole_photos: dict[str, Any] | None
) -> list[str]:
    """Where edits cross and how real they look; what is left of them after paste, if measured."""
    kid = "edit / reconstruction / untouched photo"
    titles = [
        "attribute",
        "half across, on / off",
        "monotone",
        "side effects, on / off / photos",
        "same person, on / off",
        f"KID on, {kid}",
        f"KID off, {kid}",
    ]
    caption = (
        "KID is on the judge's features, to be compared within this table only, and between faces "
        "alike in all other labels. Photos: what the other scores differ by between photos with "
        "and without the attribute, alike in all other labels, over what its own does."
    )
    if whole_photos:
        titles.append("swap after paste, at the labels / ends")
        caption += f" After paste: {whole_photos['faces']} whole photos."
    lines = [caption, "", "| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for name, figures in attributes.items():
        cells = [
            name,
            _listed(figures["half_cross"][way] for way in DIRECTIONS),
            f"{figures['monotone']['mean']:.2f}",
            _listed(figures["side_effect_ratio"].get(of) for of in (*DIRECTIONS, "photos")),
            _listed(figures["same_person"][way]["mean"] for way in DIRECTIONS),
        ]
        for way in DIRECTIONS:
            found = (
                figures["kid"].get(f"{what}{way}") for what in ("", "reconstruction_", "untouched_")
            )
            cells.append(_listed((one and one["mean"] for one in found), 3))
        if whole_photos:
            cells.append(_swaps(whole_photos["attributes"].get(name, {})))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _reliability_table(attributes: dict[str, dict[str, Any]]) -> list[str]:
    """What share of photos has the label, by the value that the estimator reads."""
    bounds = [f"{edge:g}" for edge in READ_AT]
    between = [f"{low} to {high}" for low, high in pairwise(bounds)]
    titles = ["estimated value", f"below {bounds[0]}", *between, f"above {bounds[-1]}"]
    lines = [
        "Share of photos that have the label, by the value that the estimator reads, either label "
        "given the same weight:",
        "",
        "| " + " | ".join(titles) + " |",
        "|---" * len(titles) + "|",
    ]
    for name, figures in attributes.items():
        cells = ["-" if s is None else f"{s:.2f}" for s in figures["reliability"]]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return lines


def _identity(attributes: dict[str, dict[str, Any]], metrics: dict[str, Any]) -> list[str]:
    """How much of a person an edit leaves, beside what two photos of one person have in common."""
    means = metrics["identity"]
    ends = (
        f"{name} {figures['identity']['off']:.2f} / {figures['identity']['on']:.2f}"
        for name, figures in attributes.items()
    )
    return [
        f"Identity of {means['faces']} faces, mean cosine of dlib's embeddings: one person "
        f"{means['one_person']:.2f}, two people {means['two_people']:.2f}, photo and "
        f"reconstruction {means['reconstruction']:.2f}; photo and edit, low and high end of each "
        f"slider: {', '.join(ends)}.",
        f'"Same person" is the share of edits nearer to their photo than '
        f"{means['threshold']:.2f}, which {100 * STRANGERS:g} % of the pairs of two people reach; "
        f"of pairs of one person {means['one_person_same']:.2f} do.",
    ]


def _side_effects(attributes: dict[str, dict[str, Any]]) -> list[str]:
    """The large ones, worst first."""
    shifts = [
        (name, way, other, shift)
        for name, figures in attributes.items()
        for way, others in figures["side_effects"].items()
        for other, shift in others.items()
        if abs(shift) >= LARGE
    ]
    shifts.sort(key=lambda found: -abs(found[3]))
    told = "; ".join(f"{name} {way}: {other} {shift:+.2f}" for name, way, other, shift in shifts)
    return [f"Side effects of {LARGE:g} or more at a slider's end: {told or 'none'}."]


def _swaps(figures: dict[str, Any]) -> str:
    return _listed(figures.get(f"swap_at_{place}") for place in ("label", "end"))


def _listed(numbers: Iterable[float | None], digits: int = 2) -> str:
    return " / ".join("-" if one is None else f"{one:.{digits}f}" for one in numbers)


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return f"{figure['mean']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]"
