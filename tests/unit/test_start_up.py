"""What starting the app leaves undone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
SCRIPT = """
import inspect
import sys
from pathlib import Path

opened = []
sys.addaudithook(lambda name, about: opened.append(str(about[0])) if name == "open" else None)
import fader_demo.ui
import gradio
from gradio import component_meta
assert gradio.Slider(0, 1).change
assert "create_or_modify_pyi(" in inspect.getsource(component_meta)  # or there would be no need
print("stubs", sum(path.endswith(".pyi") for path in opened))

from fader_demo.models import Models
from fader_demo.ui.page import Page
page = Page(Models({{"tiny": "{model}"}}), [Path("{example}")])
page.build()
print("finds faces", "torchvision" in sys.modules)
page.warm_up()
print("finds faces", "torchvision" in sys.modules)
page.close()
"""


def test_no_stubs_are_written_and_the_page_is_there_before_what_finds_faces(
    tiny_model_folder: Path, astronaut: Image.Image, tmp_path: Path
) -> None:
    example = tmp_path / "example.png"
    astronaut.save(example)
    script = SCRIPT.format(model=tiny_model_folder, example=example)
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["stubs 0", "finds faces False", "finds faces True"]
