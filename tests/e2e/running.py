"""The app as it is served: `python app.py` on a free port, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
App = subprocess.Popen[bytes]


@contextmanager
def running(models: str, temporary: Path) -> Iterator[tuple[str, App]]:
    """The app's address, once it answers, and its process; it is told to end afterwards.

    models: as FADER_MODELS. temporary: where it may write.
    """
    port = free_port()
    app = start(port, models, temporary)
    try:
        yield once_it_answers(port, app), app
    finally:
        app.terminate()
        app.wait(timeout=30)


def start(port: int, models: str, temporary: Path) -> App:
    settings = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "FADER_MODELS": models,
        "GRADIO_TEMP_DIR": str(temporary),
        "HF_HUB_OFFLINE": "1",
    }
    return subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=os.environ | settings)


def once_it_answers(port: int, app: App) -> str:
    """The address of an app that has been started."""
    address = f"http://127.0.0.1:{port}/"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and app.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return address
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("app.py did not begin to serve")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
