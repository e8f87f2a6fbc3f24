"""What is held of visitors, and what the log says when something fails."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from PIL import Image

from fader_demo import Editor
from fader_demo.models import Models
from fader_demo.serving import Busy
from fader_demo.ui import answers
from fader_demo.ui.answers import Answers
from fader_demo.ui.visit import MAX_PHOTOS, Photo, Refusal, Visit, log_failure, pixels


@pytest.fixture(scope="module")
def photo(tiny_model_folder: Path, astronaut: Image.Image) -> Photo:
    return Photo(Editor.from_pretrained(tiny_model_folder).open(astronaut), {"example": 0})


def test_a_photo_that_several_have_open_takes_its_memory_once(photo: Photo) -> None:
    assert pixels([photo, photo]) == 512 * 512
    assert pixels([]) == 0


def test_no_more_photos_are_read_than_there_is_room_for(photo: Photo) -> None:
    visit = Visit("tiny", (photo,) * 3)
    visit.check_room(MAX_PHOTOS - 3)
    with pytest.raises(Refusal, match="Close some"):
        visit.check_room(MAX_PHOTOS - 2)
    Visit("tiny", (photo,), greeting=True).check_room(MAX_PHOTOS)


def test_newcomers_wait_while_the_photos_of_others_fill_the_memory(
    tiny_model_folder: Path, photo: Photo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Answers(Models({"tiny": tiny_model_folder}), [], str(tmp_path))
    monkeypatch.setattr(answers, "MAX_PIXELS_HELD", 512 * 512 - 1)
    first, newcomer = Visit("tiny", (photo,)), Visit("tiny")
    page._admit(first)
    page.visits[first.key] = first
    with pytest.raises(Busy, match="Try again in 60"):
        page._admit(newcomer)
    del first
    page._admit(newcomer)


def test_the_log_tells_where_something_failed_and_nothing_of_the_visitor(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        try:
            Path("/nowhere/my secret holiday.jpg").read_bytes()
        except OSError:
            log_failure("opening")
    assert "opening failed: FileNotFoundError" in caplog.text
    assert "test_visit.py" in caplog.text and "holiday.jpg'" not in caplog.text
