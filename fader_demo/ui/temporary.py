"""The folder for what visitors upload and download: private, swept by age, gone with the app.

Gradio's own sweep knows only files that an event was given; an upload that nothing used would stay.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KEPT_SECONDS = 300
"""Age at which a file is deleted. An upload is read as it arrives, a download at once."""
SWEPT_EVERY = 30


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Gives Gradio, and all else that sets files aside, a folder of our own while this lasts."""
    parent = os.environ.get("GRADIO_TEMP_DIR")
    if parent:
        Path(parent).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix="fader-", dir=parent, ignore_cleanup_errors=True
    ) as name:
        os.environ["GRADIO_TEMP_DIR"] = tempfile.tempdir = name
        over = threading.Event()
        sweeper = threading.Thread(target=_keep_clean, args=(Path(name), over), daemon=True)
        sweeper.start()
        try:
            yield Path(name)
        finally:
            tempfile.tempdir = None
            over.set()
            sweeper.join()


def _keep_clean(folder: Path, over: threading.Event) -> None:
    while not over.wait(SWEPT_EVERY):
        sweep(folder, KEPT_SECONDS)


def sweep(folder: Path, age: float) -> None:
    """Deletes files and empty folders below ``folder`` that are ``age`` seconds old."""
    oldest = time.time() - age
    for path in sorted(folder.rglob("*"), reverse=True):  # what a folder holds before the folder
        with suppress(OSError):  # in use, just deleted, or not empty
            if path.lstat().st_mtime > oldest:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
