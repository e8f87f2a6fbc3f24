"""The disk fills up, or its folder is lost, while the app runs: who edits goes on, files can wait.

Only files need the disk. The full disk is a limit that the kernel sets to the server's files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Browser
from running import running
from visitor import Visitor

from fader_demo import Editor, Face
from fader_demo.ui.download import NO_FILES
from fader_demo.ui.pictures import LIVE_SIDE

resource = pytest.importorskip("resource")
if not hasattr(resource, "prlimit"):
    pytest.skip("Only Linux limits the files of another process.", allow_module_level=True)

ROOM = 2000
"""Bytes of a file for which there still is room."""


class Served:
    """``python app.py`` in a process of its own, and the folder that it writes to."""

    def __init__(self, address: str, process: int, parent: Path) -> None:
        self.address = address
        self.process = process
        (self.folder,) = parent.glob("fader-*")

    def files(self) -> set[Path]:
        """All that visitors have there, folders among them; but for uploads that broke off.

        Those are swept with the rest.
        """
        return {path for path in self.folder.rglob("*") if not path.name.startswith("tmp")}


@pytest.fixture(scope="module")
def served(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    temporary = tmp_path_factory.mktemp("gradio")
    with running(str(model_folder), temporary) as (address, app):
        yield Served(address, app.pid, temporary)
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


@contextmanager
def full_disk(served: Served) -> Iterator[None]:
    before = resource.prlimit(served.process, resource.RLIMIT_FSIZE)
    resource.prlimit(served.process, resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.prlimit(served.process, resource.RLIMIT_FSIZE, before)


@contextmanager
def lost_folder(served: Served) -> Iterator[None]:
    aside = served.folder.with_name("aside")
    served.folder.rename(aside)
    served.folder.write_text("a file where there was a folder")
    try:
        yield
    finally:
        served.folder.unlink()
        aside.rename(served.folder)


Trouble = Callable[[Served], AbstractContextManager[None]]

TROUBLES = pytest.mark.parametrize("trouble", [full_disk, lost_folder])


@pytest.fixture
def visitor(chromium: Browser, served: Served, portrait: Path) -> Iterator[Visitor]:
    """Somebody who has opened the portrait. Their console may show the requests that failed."""
    context = chromium.new_context(reduced_motion="reduce")
    visitor = Visitor(context.new_page(), served.address)
    visitor.open_photo(portrait)
    yield visitor
    visitor.leave()


def is_told(visitor: Visitor, what_to_expect: str = NO_FILES) -> None:
    """One toast, in plain words, and that it is gone again."""
    lines = visitor.toast().splitlines()
    assert what_to_expect in lines, lines
    visitor.dismiss_toasts()


def download(visitor: Visitor, name: str) -> Path:
    with visitor.page.expect_download() as saved:
        visitor.page.get_by_role("button", name=name).click()
    return Path(saved.value.path())


@TROUBLES
def test_sliders_go_on_and_files_come_back_when_there_is_room_again(
    served: Served,
    visitor: Visitor,
    editor: Editor,
    face: Face,
    portrait: Path,
    couple: Path,
    trouble: Trouble,
) -> None:
    page, original = visitor.page, visitor.source("original")
    before = served.files()
    with trouble(served):
        visitor.choose_files(couple)
        is_told(visitor)
        assert visitor.source("original") == original
        for button in ("Download", "Save the strip"):
            page.get_by_role("button", name=button, exact=True).click()
            is_told(visitor)
        visitor.open_tab("Clip")
        page.get_by_role("button", name="Make the clip").click()
        is_told(visitor)
        value = visitor.drag("Smiling", visitor.farther_end("Smiling"))
        visitor.sees(editor.paste(face, {"Smiling": value}, max_side=LIVE_SIDE))
    assert served.files() == before
    with Image.open(download(visitor, "Download")) as saved:
        assert saved.size == face.photo.size
    visitor.open_photo(couple)


@TROUBLES
def test_an_upload_that_finds_no_room_is_refused_in_plain_words(
    served: Served, portrait: Path, trouble: Trouble
) -> None:
    before = served.files()
    with trouble(served):
        refused = uploaded(served, portrait)
    assert refused.status_code == 507
    assert refused.json() == {"detail": NO_FILES}
    assert served.files() == before
    assert uploaded(served, portrait).status_code == 200


def test_a_program_whose_result_finds_no_room_is_told_in_plain_words(
    served: Served, portrait: Path, tmp_path: Path
) -> None:
    client = Client(served.address, download_files=str(tmp_path), verbose=False)
    (path,) = uploaded(served, portrait).json()
    photo = handle_file(f"{served.address}gradio_api/file={path}")
    before = served.files()
    with full_disk(served):
        for endpoint, arguments in (("/edit", [{"Smiling": 1}]), ("/strip", ["Smiling", [0, 1]])):
            with pytest.raises(AppError) as refused:
                client.predict(photo, *arguments, api_name=endpoint)
            assert str(refused.value) == NO_FILES
    assert served.files() == before
    with Image.open(client.predict(photo, {"Smiling": 1}, api_name="/edit")) as image:
        assert image.format == "PNG"


def uploaded(served: Served, photo: Path) -> httpx.Response:
    with photo.open("rb") as file:
        return httpx.post(f"{served.address}gradio_api/upload", files={"files": file}, timeout=60)
