"""What starting the app leaves undone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
opened = []
sys.addaudithook(lambda name, about: opened.append(str(about[0])) if name == "open" else None)
import {module}
import gradio
assert gradio.Slider(0, 1).change
print(sum(path.endswith(".pyi") for path in opened))
"""

BUILD = """
import sys
from pathlib import Path
from fader_demo.models import Models
from fader_demo.ui.page import Page
page = Page(Models({{"tiny": "{model}"}}), [Path("{example}")])
blocks = page.build()
assert "torchvision" not in sys.modules
page.warm_up()
assert "torchvision" in sys.modules
page.close()
"""


def stubs_opened(module: str) -> int:
    """Type stubs that are read or written while gradio is imported after ``module``."""
    script = SCRIPT.format(module=module)
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(result.stdout)


def test_gradio_is_imported_without_the_stubs_that_it_writes() -> None:
    assert stubs_opened("sys") > 0  # or the page would no longer have to see to it
    assert stubs_opened("fader_demo.ui") == 0


def test_the_page_is_there_before_what_finds_faces_is_loaded(
    tiny_model_folder: Path, astronaut: Image.Image, tmp_path: Path
) -> None:
    example = tmp_path / "example.png"
    astronaut.save(example)
    script = BUILD.format(model=tiny_model_folder, example=example)
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
