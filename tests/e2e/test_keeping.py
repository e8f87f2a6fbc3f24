"""Downloads, clips, links and settings: what leaves the page is what was seen there."""

from __future__ import annotations

import json
from pathlib import Path

import av
from PIL import Image
from playwright.sync_api import expect
from visitor import NewVisitor, Visitor, distance

from fader_demo import Editor, Face
from fader_demo.ui.animation import CLIP_SIDE, FRAMES, FRAMES_PER_SECOND
from fader_demo.ui.pictures import LIVE_SIDE


def test_the_download_is_the_whole_photo(at_portrait: Visitor, editor: Editor, face: Face) -> None:
    value = at_portrait.drag("Smiling", at_portrait.farther_end("Smiling"))
    edited = editor.paste(face, {"Smiling": value})
    buttons = at_portrait.page.locator("#download")
    for kind, lost in (("PNG", 0), ("JPEG", 3), ("WEBP", 3)):
        buttons.get_by_role("combobox", name="File type").select_option(kind)
        with at_portrait.page.expect_download() as download:
            buttons.get_by_role("button", name="Download").click()
        assert download.value.suggested_filename == f"portrait-edited.{kind.lower()}"
        with Image.open(download.value.path()) as saved:
            assert saved.format == kind
            assert not saved.getexif()
            assert saved.size == face.photo.size
            assert distance(saved.convert("RGB"), edited) <= lost


def test_a_link_opens_the_same_edit_on_ones_own_photo(
    new_visitor: NewVisitor, editor: Editor, face: Face, portrait: Path
) -> None:
    sender = new_visitor()
    value = sender.drag("Smiling", sender.farther_end("Smiling"))
    sender.wait_until(lambda: "Smiling=" in sender.fragment())
    sender.open_tab("Share")
    sender.page.get_by_role("button", name="Copy link").click()
    expect(sender.page.get_by_role("status").filter(has_text="clipboard")).to_be_visible()
    link = sender.page.evaluate("navigator.clipboard.readText()")
    receiver = new_visitor(fragment="#" + link.partition("#")[2])
    assert receiver.value("Smiling") == value
    receiver.choose_files(portrait)
    receiver.sees(editor.paste(face, {"Smiling": value}, LIVE_SIDE))
    receiver.reset_all()
    assert receiver.fragment() == ""


def test_a_link_that_makes_no_sense_changes_nothing(new_visitor: NewVisitor) -> None:
    first, *others = [
        "#Smiling=NaN&Nothing=1",
        "#Smiling=&__proto__=1",
        "#%F0%9F",
        "#Smiling=1e999",
    ]
    visitor = new_visitor(fragment=first)
    visitor.wait_until(visitor.is_untouched)
    for fragment in others:
        visitor.page.evaluate("fragment => (location.hash = fragment)", fragment)
        visitor.wait_until(lambda: visitor.fragment() == "")  # it has been read, and left out
        visitor.page.wait_for_timeout(300)
        assert visitor.is_untouched()


def test_settings_go_out_and_come_back(
    at_portrait: Visitor, editor: Editor, face: Face, tmp_path: Path
) -> None:
    value = at_portrait.drag("Smiling", at_portrait.farther_end("Smiling"))
    at_portrait.open_tab("Share")
    with at_portrait.page.expect_download() as download:
        at_portrait.page.get_by_role("button", name="Save settings").click()
    saved = json.loads(Path(download.value.path()).read_text())
    assert saved["values"] == {"Smiling": value}
    assert set(saved) == {"fader", "model", "values", "detail"}
    at_portrait.reset_all()
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(saved | {"values": {"Smiling": value, "Hat": 1}, "detail": 1}))
    at_portrait.page.set_input_files("#sharing input[type=file]", file)
    at_portrait.sees(editor.paste(face, {"Smiling": value}, LIVE_SIDE, detail=1))
    expect(at_portrait.page.locator("#sharing .done")).to_contain_text("does not know Hat")
    file.write_text("[1, 2")
    at_portrait.page.set_input_files("#sharing input[type=file]", file)
    assert "no file of settings" in at_portrait.toast()


def test_a_clip_plays_from_one_end_to_the_other(at_portrait: Visitor) -> None:
    page = at_portrait.page
    at_portrait.open_tab("Clip")
    # What changes much beside what files lose: an edit of more than a mouth.
    page.get_by_role("combobox", name="What moves").select_option("Male")
    link = page.get_by_role("link", name="Save the clip")
    for suffix in (".mp4", ".gif", ".webp"):
        page.get_by_role("combobox", name="File", exact=True).select_option(suffix)
        page.get_by_role("button", name="Make the clip").click()
        expect(link).to_have_attribute("download", f"portrait{suffix}")
        with page.expect_download() as download:
            link.click()
        assert download.value.suggested_filename == f"portrait{suffix}"
        pictures = _frames(Path(download.value.path()), suffix)
        assert len(pictures) == FRAMES
        assert max(pictures[0].size) == CLIP_SIDE
        middle = pictures[FRAMES // 2]
        assert distance(pictures[0], pictures[-1]) < distance(pictures[0], middle) / 2


def _frames(path: Path, suffix: str) -> list[Image.Image]:
    if suffix == ".mp4":
        with av.open(str(path), format="mp4") as film:
            return [frame.to_image() for frame in film.decode(video=0)]
    with Image.open(path) as clip:
        pictures = []
        for index in range(clip.n_frames):  # type: ignore[attr-defined]
            clip.seek(index)
            picture = clip.convert("RGB")
            # Frames that are alike are one that lasts longer.
            pictures += [picture] * round(clip.info["duration"] * FRAMES_PER_SECOND / 1000)
        return pictures


def test_a_clip_can_go_between_two_pins(visitor: Visitor) -> None:
    page = visitor.page
    pin = page.get_by_role("button", name="Pin this edit")
    pin.click()
    visitor.drag("Smiling", visitor.farther_end("Smiling"))
    visitor.wait_until(lambda: not visitor.is_untouched())
    pin.click()
    visitor.open_tab("Clip")
    page.get_by_role("combobox", name="What moves").select_option("from one edit to another")
    page.get_by_role("combobox", name="From").select_option("Pin 1")
    page.get_by_role("combobox", name="To", exact=True).select_option("Pin 1")
    page.get_by_role("button", name="Make the clip").click()
    assert "Nothing moves" in visitor.toast()
    page.get_by_role("combobox", name="To", exact=True).select_option("Pin 2")
    page.get_by_role("button", name="Make the clip").click()
    expect(page.get_by_role("link", name="Save the clip")).to_be_visible()
