"""What an edit did to the face: a table of readings with bars, side effects, and what is left."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import gradio as gr

if TYPE_CHECKING:
    from fader_demo.readings import Explanation, Reading


def changes_panel() -> gr.HTML:
    """The panel. Its value is what ``shown`` makes of an explanation."""
    return gr.HTML(value=_NOTHING, apply_default_css=False, elem_id="changes")


def shown(explanation: Explanation) -> str:
    """The value that shows an explanation."""
    if not explanation.moved:
        return _NOTHING
    rows = "".join(_row(reading) for reading in explanation.readings)
    told = _side_effects(explanation.side_effects) + _unchanged(explanation.unchanged)
    return f"""
<section class="changes" aria-label="What changed">
  <table>
    <caption>Read off the picture by the model's own estimator. 0 and 1 are the average faces
      without and with an attribute, where it has no unit of its own.</caption>
    <thead><tr><th scope="col">Attribute</th><th scope="col">Before</th>
      <td class="bar"></td><th scope="col">After</th></tr></thead>
    <tbody>{rows}</tbody>
  </table>
  <div class="told">{told}</div>
</section>"""


def _row(reading: Reading) -> str:
    label, before, after = (
        html.escape(text)
        for text in (
            reading.attribute.label,
            reading.text(reading.before),
            reading.text(reading.after),
        )
    )
    notes = "".join(f"<small>{html.escape(note)}</small>" for note in _notes(reading))
    return f"""
      <tr{' class="moved"' if reading.asked is not None else ""}>
        <th scope="row">{label}{notes}</th><td>{before}</td>
        <td class="bar" aria-hidden="true"><i style="{_bar(reading)}"></i></td>
        <td>{after}</td></tr>"""


def _notes(reading: Reading) -> list[str]:
    """What is to be said of an attribute under its name."""
    notes = []
    if reading.asked is not None:
        notes.append(f"moved to {reading.text(reading.asked)}")
    if reading.is_side_effect:
        notes.append("side effect")
    if reading.probability:
        before, after = reading.probability
        notes.append(f"{reading.text(reading.after)} {before:.0%} likely before, {after:.0%} after")
    return notes


def _bar(reading: Reading) -> str:
    """Both readings as shares of the slider, held within it; of a choice, its probabilities."""
    if reading.probability:
        before, after = reading.probability
    else:
        low, high = reading.attribute.slider
        before, after = (
            min(max((value - low) / (high - low), 0), 1)
            for value in (reading.before, reading.after)
        )
    return f"--before: {before:.3f}; --after: {after:.3f}"


def _side_effects(sentences: list[str]) -> str:
    if not sentences:
        return "<h3>Side effects</h3><p>No other attribute changed noticeably.</p>"
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f"<h3>Side effects</h3><ul>{items}</ul>"


def _unchanged(share: float) -> str:
    return f"""<h3>What is left</h3>
    <p><strong>{share:.0%} of the face unchanged.</strong> From brows to chin, this is the share of
    the picture in which no colour moved by more than a twentieth of its range. It tells how much
    was drawn anew, not whether it is still the same person.</p>"""


_NOTHING = """
<section class="changes" aria-label="What changed">
  <p>Nothing has been changed. Move a fader, and this tells what the edit did to the face.</p>
</section>"""
