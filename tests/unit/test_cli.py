"""The command line: the editor's own pixels, one bad photo among good ones, and plain refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from fader_demo import Editor, cli
from fader_demo.cli import find_photos, main, name_targets

Run = Callable[..., int]


@pytest.fixture(scope="module")
def editor(tiny_model_folder: Path) -> Editor:
    return Editor.from_pretrained(tiny_model_folder, device="cpu")


@pytest.fixture(autouse=True)
def one_editor(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the tests of everything but loading the time that it takes."""
    monkeypatch.setattr(cli, "_editor", lambda options: editor)


@pytest.fixture
def photos(tmp_path: Path, astronaut: Image.Image) -> Path:
    """A folder with two portraits, and files that are none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    astronaut.save(folder / "b.png")
    astronaut.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "a.png")
    (folder / "notes.txt").write_text("not a photo")
    (folder / "._a.png").write_bytes(b"not a photo")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def difference(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())


def equal(path: Path, picture: Image.Image) -> bool:
    return np.array_equal(np.asarray(Image.open(path)), np.asarray(picture))


# Pictures


def test_an_edit_has_the_editors_pixels(editor: Editor, photos: Path, tmp_path: Path) -> None:
    edit = ["--set", "Smiling=2", "--set", "Hair=brown", "--detail", "0.25"]
    assert main(["edit", str(photos / "b.png"), *edit, "--out", str(tmp_path / "o")]) == 0
    face = editor.open(photos / "b.png")
    expected = editor.paste(face, {"Smiling": 2, "Hair": "brown"}, detail=0.25)
    assert names(tmp_path / "o") == ["b-edited.png"]
    assert equal(tmp_path / "o" / "b-edited.png", expected)


def test_settings_make_the_edit_and_options_go_first(
    editor: Editor, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"Smiling": -1, "Age": 80, "Wings": 1}
    settings = tmp_path / "party.json"
    settings.write_text(json.dumps({"fader": 1, "values": values, "detail": 0.1}), "utf-8-sig")
    edit = ["--settings", str(settings), "--set", "Smiling=2", "--out", str(tmp_path)]
    assert main(["edit", str(photos / "b.png"), *edit]) == 0
    face = editor.open(photos / "b.png")
    expected = editor.paste(face, {"Smiling": 2, "Age": 80}, detail=0.1)
    assert equal(tmp_path / "b-edited.png", expected)
    assert "Wings" in capsys.readouterr().err


def test_one_face_or_all_of_them_are_edited(
    editor: Editor, astronaut: Image.Image, tmp_path: Path
) -> None:
    pair = Image.new("RGB", (900, 512), "grey")
    pair.paste(astronaut, (0, 0))
    pair.paste(astronaut.resize((380, 380)), (516, 0))
    pair.save(tmp_path / "pair.png")
    edit = ["edit", str(tmp_path / "pair.png"), "--set", "Smiling=2", "--out", str(tmp_path)]
    first = editor.open(pair)
    one = editor.paste(first, {"Smiling": 2})
    other = editor.paste(editor.choose(first, 1), {"Smiling": 2})
    assert main([*edit, "--face", "2"]) == 0
    assert equal(tmp_path / "pair-edited.png", other)
    assert main([*edit, "--face", "all"]) == 0
    both = np.array(one)
    both[:, 512:] = np.array(other)[:, 512:]
    middle = slice(500, 530)  # where the two faces' surroundings may touch
    saved = np.array(Image.open(tmp_path / "pair-edited.png"))
    saved[:, middle] = both[:, middle] = 0
    assert np.array_equal(saved, both)


def test_a_photo_keeps_its_colour_profile(photos: Path, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.open(photos / "b.png").save(tmp_path / "c.jpg", icc_profile=profile)
    edit = ["--set", "Smiling=1", "--format", "jpeg", "--out", str(tmp_path)]
    assert main(["edit", str(tmp_path / "c.jpg"), str(photos / "b.png"), *edit]) == 0
    assert Image.open(tmp_path / "c-edited.jpeg").info["icc_profile"] == profile
    assert "icc_profile" not in Image.open(tmp_path / "b-edited.jpeg").info


@pytest.mark.parametrize(
    ("asked", "strengths"),
    [
        (["Smiling", "--strengths", "-0.5", "0", "1.5"], [-0.5, 0, 1.5]),
        (["Smiling", "--count", "3"], [-1, 0.5, 2]),
        (["Hair"], ["black", "blond", "brown"]),
        (["Hair", "--strengths", "brown", "0"], ["brown", 0]),
    ],
)
def test_a_strip_has_the_strengths_asked_for(
    editor: Editor, photos: Path, tmp_path: Path, asked: list[str], strengths: list[float]
) -> None:
    out = ["--out", str(tmp_path), "--set", "Age=80"]
    assert main(["strip", str(photos / "b.png"), *out, "--attribute", *asked]) == 0
    expected = editor.strip(editor.open(photos / "b.png"), asked[0], strengths, {"Age": 80})
    assert equal(tmp_path / f"b-{asked[0]}.png", expected)


def test_a_grid_has_one_attribute_down_and_the_other_across(
    editor: Editor, photos: Path, tmp_path: Path
) -> None:
    axes = ["--rows", "Age", "--columns", "Hair", "--count", "2"]
    assert main(["grid", str(photos / "b.png"), *axes, "--out", str(tmp_path)]) == 0
    expected = editor.grid(editor.open(photos / "b.png"), "Age", [0, 90], "Hair", [0, 1, 2])
    assert equal(tmp_path / "b-Age-Hair.png", expected)


# Clips


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "CLIP_FRAMES", 4)
    monkeypatch.setattr(cli, "CLIP_SIDES", {"mp4": 200, "gif": 120, "webp": 120})


@pytest.mark.usefixtures("short")
def test_a_clip_goes_there_and_back_without_a_frame_twice(
    editor: Editor, photos: Path, tmp_path: Path
) -> None:
    sweep = ["--attribute", "Smiling", "--from", "-0.5", "--to", "1.5", "--out", str(tmp_path)]
    assert main(["sweep", str(photos / "b.png"), *sweep]) == 0
    with av.open(str(tmp_path / "b-Smiling.mp4")) as clip:
        shown = [frame.to_image() for frame in clip.decode(video=0)]
    face = editor.open(photos / "b.png")
    stops = [editor.paste(face, {"Smiling": s}, max_side=200) for s in (-0.5, 0.5, 1.5)]
    nearest = [np.argmin([difference(frame, stop) for stop in stops]) for frame in shown]
    assert nearest == [0, 1, 2, 1]


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_a_clip_between_two_settings_starts_at_the_first(
    editor: Editor, photos: Path, tmp_path: Path, suffix: str
) -> None:
    for name, value in (("from", 90), ("to", 0)):
        text = json.dumps({"fader": 1, "values": {"Age": value}, "detail": 0.3})
        (tmp_path / f"{name}.json").write_text(text)
    sweep = [f"--{end}-settings={tmp_path / end}.json" for end in ("from", "to")]
    arguments = [str(photos / "b.png"), *sweep, "--format", suffix, "--out", str(tmp_path)]
    assert main(["sweep", *arguments]) == 0
    with Image.open(tmp_path / f"b-sweep.{suffix}") as clip:
        assert clip.n_frames == 4
        first = clip.convert("RGB")
    face = editor.open(photos / "b.png")
    expected = editor.paste(face, {"Age": 90}, max_side=120, detail=0.3)
    assert difference(first, expected) < 6


# Many photos


def test_a_folder_a_file_and_a_quoted_pattern_are_all_found(photos: Path) -> None:
    both = [photos / "a.png", photos / "b.png"]
    assert find_photos([str(photos)]) == both
    assert find_photos([str(photos / "*.png")]) == both
    assert find_photos([str(photos.parent / "**" / "[ab].png")]) == both
    assert find_photos([str(photos / "b.png"), str(photos)]) == both[::-1]
    (photos / "c[1].png").write_bytes((photos / "b.png").read_bytes())
    assert find_photos([str(photos / "c[1].png")]) == [photos / "c[1].png"]


def test_one_bad_photo_does_not_stop_the_others(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "aa.jpg").write_bytes(b"not a photo")
    Image.new("RGB", (200, 200), "white").save(photos / "ab.png")
    out = tmp_path / "o"
    assert main(["edit", str(photos), "--set", "Smiling=1", "--out", str(out)]) == 1
    assert names(out) == ["a-edited.png", "b-edited.png"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        str(photos / "aa.jpg"),
        str(photos / "ab.png"),
    ]
    assert "No face was found" in lines[1]


def test_a_face_that_is_not_there_fails_that_photo_alone(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit = ["--set", "Smiling=1", "--face", "2", "--out", str(tmp_path)]
    assert main(["edit", str(photos / "b.png"), *edit]) == 1
    assert "no face 2" in capsys.readouterr().err


def test_the_same_name_twice_is_numbered_alike_in_every_run(tmp_path: Path) -> None:
    photos = [Path(name) for name in ("x/me.jpg", "y/me.png", "me-2.jpg", "z/ME.png")]
    targets = [path.name for path in name_targets(photos, tmp_path, "-edited.png")]
    assert targets == [
        "me-edited.png",
        "me-3-edited.png",
        "me-2-edited.png",
        "ME-4-edited.png",
    ]


def test_a_rerun_replaces_its_own_files(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    for value in ("1", "2"):
        assert main(["edit", str(photos), "--set", f"Smiling={value}", "--out", str(out)]) == 0
        assert names(out) == ["a-edited.png", "b-edited.png"]


def test_a_photo_is_never_overwritten(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "a.png").rename(photos / "b-edited.png")
    before = (photos / "b-edited.png").read_bytes()
    assert main(["edit", str(photos), "--set", "Smiling=1", "--out", str(photos)]) == 2
    assert (photos / "b-edited.png").read_bytes() == before
    assert "--out" in capsys.readouterr().err


# Wrong usage


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["edit", "--set", "Smile=1"], "Smiling, Eyeglasses, Age, Hair"),
        (["edit", "--set", "Smiling=much"], "Smiling needs a number, not 'much'"),
        (["edit", "--set", "Smiling=nan"], "Smiling needs a number"),
        (["edit", "--set", "Hair=green"], "black, blond, brown"),
        (["edit"], "--set NAME=VALUE or --settings"),
        (["edit", "--settings", "absent.json"], "absent.json"),
        (["strip", "--attribute", "Smile"], "Smiling, Eyeglasses, Age, Hair"),
        (["strip", "--attribute", "Smiling", "--strengths", "1", "x"], "'x'"),
        (["grid", "--rows", "Age", "--columns", "Age"], "two attributes"),
        (["sweep"], "--attribute"),
        (["sweep", "--attribute", "Age", "--to-settings", "a.json"], "--attribute"),
        (["sweep", "--to-settings", "a.json", "--from", "1"], "--from"),
    ],
)
def test_wrong_usage_says_what_is_wrong_and_draws_nothing(
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    asked: list[str],
    says: str,
) -> None:
    command, *options = asked
    out = tmp_path / "o"
    assert main([command, str(photos), *options, "--out", str(out)]) == 2
    assert says in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--set", "Smiling"],
        ["--detail", "2"],
        ["--detail", "nan"],
        ["--face", "0"],
        ["--face", "some"],
        ["--format", "bmp"],
    ],
)
def test_options_that_make_no_sense_are_refused(photos: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["edit", str(photos), "--set", "Smiling=1", "--out", "o", *wrong])
    assert end.value.code == 2


def test_no_photos_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for nothing in (tmp_path, tmp_path / "absent.jpg", tmp_path / "*.jpg"):
        assert main(["edit", str(nothing), "--set", "Smiling=1", "--out", str(tmp_path)]) == 2
        assert str(nothing) in capsys.readouterr().err


def test_settings_that_are_none_are_wrong_usage(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in (b"{", b"\xff\xfe", b"[]"):
        (tmp_path / "s.json").write_bytes(content)
        edit = ["--settings", str(tmp_path / "s.json"), "--out", str(tmp_path / "o")]
        assert main(["edit", str(photos), *edit]) == 2
        assert "s.json" in capsys.readouterr().err


# The model, and help


def test_the_attributes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attributes"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["NAME", "KIND", "VALUES", "LABEL"]
    assert lines[3] == ["Age", "continuous", "0", "to", "90", "years", "Age"]
    assert lines[4] == ["Hair", "categorical", "black,", "blond,", "brown", "Hair"]


def test_a_model_is_loaded_from_its_folder_without_a_word(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    assert main(["attributes", "--model", str(tiny_model_folder)]) == 0
    assert capsys.readouterr().out.startswith("NAME")
    assert main(["attributes", "--model", "absent"]) == 2
    assert "no model folder absent" in capsys.readouterr().err


def test_help_answers_without_loading_torch() -> None:
    code = (
        "import sys, fader_demo.cli as cli\n"
        "try: cli.main(['edit', '--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'torch' not in sys.modules and 'av' not in sys.modules\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "python -m fader_demo attributes" in answer.stdout


def test_the_package_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "fader_demo", "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "examples:" in answer.stdout
