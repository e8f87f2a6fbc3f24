"""Getting a photo in, by every way there is, and what happens to those that cannot be edited."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from playwright.sync_api import expect
from visitor import NewVisitor, Visitor, box_in, distance

from fader_demo import Editor
from fader_demo.ui.pictures import LIVE_SIDE

HAND_OVER = """([event, encoded]) => {
  const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
  const init = { bubbles: true, cancelable: true };
  document.body.dispatchEvent(event === "drop"
    ? new DragEvent("drop", { ...init, dataTransfer: data })
    : new ClipboardEvent("paste", { ...init, clipboardData: data }));
}"""


def test_a_photo_can_be_dropped_or_pasted_anywhere(
    visitor: Visitor, portrait: Path, couple: Path, editor: Editor
) -> None:
    for event, photo in (("drop", portrait), ("paste", couple)):
        encoded = base64.b64encode(photo.read_bytes()).decode()
        visitor.page.evaluate(HAND_OVER, [event, encoded])
        visitor.sees(editor.paste(editor.open(photo), {}, max_side=LIVE_SIDE))


COPY = """async (encoded) => {
  const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
  const picture = new Blob([bytes], { type: "image/png" });
  await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
}"""


def test_the_button_pastes_what_was_copied(
    visitor: Visitor, portrait: Path, editor: Editor, tmp_path: Path
) -> None:
    button = visitor.page.get_by_role("button", name="Paste")
    before = visitor.source("original")
    visitor.page.evaluate("navigator.clipboard.writeText('no picture')")
    button.click()
    assert "no picture in the clipboard" in visitor.toast()
    assert visitor.source("original") == before
    visitor.dismiss_toasts()
    copied = tmp_path / "copied.png"
    with Image.open(portrait) as image:
        image.save(copied)
    visitor.page.evaluate(COPY, base64.b64encode(copied.read_bytes()).decode())
    button.click()
    visitor.sees(editor.paste(editor.open(copied), {}, max_side=LIVE_SIDE))


def test_the_camera_takes_a_photo(visitor: Visitor) -> None:
    before = visitor.source("original")
    page = visitor.page
    page.get_by_role("button", name="Camera").click()
    page.wait_for_function("document.querySelector('#photo video').videoWidth > 0")
    page.get_by_role("button", name="Take the photo").click()
    visitor.wait_until(lambda: visitor.source("original") != before)
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_an_example_opens_with_one_click(visitor: Visitor, portrait: Path) -> None:
    example = visitor.source("original")
    visitor.open_photo(portrait)
    visitor.page.get_by_role("button", name="Example 1").click()
    visitor.wait_until(lambda: visitor.source("original") == example)
    visitor.wait_until(visitor.is_untouched)


def test_any_of_several_faces_can_be_chosen(visitor: Visitor, editor: Editor, couple: Path) -> None:
    expect(visitor.page.get_by_role("group", name="Which face?")).to_be_hidden()
    visitor.open_photo(couple)
    faces = visitor.page.get_by_role("group", name="Which face?").get_by_role("button")
    expect(faces).to_have_count(2)
    expect(faces.nth(0)).to_have_attribute("aria-pressed", "true")
    faces.nth(1).click()
    expect(faces.nth(1)).to_have_attribute("aria-pressed", "true")
    value = visitor.drag("Smiling", visitor.farther_end("Smiling"))
    second = editor.open(couple, face=1)
    visitor.sees(editor.paste(second, {"Smiling": value}, max_side=LIVE_SIDE))
    unedited, shown = visitor.shown("original"), visitor.shown()
    assert distance(shown, unedited, box_in(shown, second, 0)) < 1
    assert distance(shown, unedited, box_in(shown, second, 1)) > 2


@pytest.fixture(scope="module")
def not_photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files that cannot be edited, by a word that the message about them holds."""
    folder = tmp_path_factory.mktemp("not-photos")
    files = {"not an image": folder / "letter.png", "No face": folder / "wall.png"}
    files |= {"16 x 16": folder / "icon.png", "larger than": folder / "film.png"}
    files["not an image"].write_text("Dear all,")
    Image.new("RGB", (400, 300), "tan").save(files["No face"])
    Image.new("RGB", (16, 16), "tan").save(files["16 x 16"])
    files["larger than"].write_bytes(bytes(27_000_000))
    return files


def test_a_photo_that_cannot_be_edited_is_refused_in_plain_words(
    visitor: Visitor, not_photos: dict[str, Path], editor: Editor, portrait: Path
) -> None:
    before = visitor.source("original")
    for words, file in not_photos.items():
        visitor.choose_files(file)
        message = visitor.toast()
        assert words in message
        assert "Traceback" not in message and "/" not in message
        assert visitor.source("original") == before
        visitor.dismiss_toasts()
    visitor.open_photo(portrait)
    value = visitor.drag("Smiling", visitor.farther_end("Smiling"))
    face = editor.open(portrait)
    visitor.sees(editor.paste(face, {"Smiling": value}, max_side=LIVE_SIDE))


def test_two_visitors_never_meet(
    new_visitor: NewVisitor, editor: Editor, portrait: Path, tmp_path: Path
) -> None:
    mirrored = tmp_path / "mirrored.png"
    with Image.open(portrait) as image:
        ImageOps.mirror(image).save(mirrored)
    visits = [(new_visitor(), portrait), (new_visitor(), mirrored)]
    for visitor, photo in visits:
        visitor.open_photo(photo)
    values = [visitor.drag("Smiling", visitor.farther_end("Smiling")) for visitor, _ in visits]
    for (visitor, path), value in zip(visits, values, strict=True):
        visitor.sees(editor.paste(editor.open(path), {"Smiling": value}, max_side=LIVE_SIDE))
    for visitor, _ in visits:
        visitor.reset_all()
    assert distance(visits[0][0].shown(), visits[1][0].shown()) > 10
