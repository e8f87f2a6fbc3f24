"""Apps in processes of their own, and what can be read off such a process from outside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "assets" / "faces"


@dataclass(frozen=True)
class Served:
    """A running app. folder: where it writes what visitors upload and download."""

    address: str
    folder: Path
    process: psutil.Process

    @property
    def megabytes(self) -> float:
        """Its memory (RSS), with that of its children."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(each.memory_info().rss for each in family) / 2**20

    @property
    def threads(self) -> int:
        return int(self.process.num_threads())

    @property
    def open_files(self) -> int:
        """Files and sockets."""
        return int(self.process.num_fds())

    def files_older_than(self, seconds: float) -> int:
        """Files of its folder that were written longer ago than this."""
        oldest = time.time() - seconds
        return sum(
            path.is_file() and path.stat().st_mtime < oldest for path in self.folder.rglob("*")
        )


@contextmanager
def served(*arguments: str) -> Iterator[Served]:
    """Runs Python with these arguments until it prints its address, and ends it afterwards.

    arguments: default: app.py, with the shipped model.
    """
    with tempfile.TemporaryDirectory(prefix="fader-bench-") as folder:
        environment = {key: value for key, value in os.environ.items() if key != "PORT"}
        environment |= {"GRADIO_TEMP_DIR": folder, "FADER_MODELS": str(MODEL)}
        command = [sys.executable, *(arguments or ("app.py",))]
        app = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert app.stdout is not None
        try:
            found = (re.search(r"http://\S+?(?=/?$)", line.strip()) for line in app.stdout)
            address = next(filter(None, found), None)
            assert address, f"{' '.join(command)} ended before it was ready"
            yield Served(address[0], Path(folder), psutil.Process(app.pid))
        finally:
            app.terminate()
            try:
                app.wait(timeout=60)
            finally:
                app.kill()  # nothing, once it has ended
