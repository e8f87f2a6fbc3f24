"""Serves the editor: `python app.py` here, and the entry point on Hugging Face Spaces.

Settings are environment variables: HOST and PORT (default: Gradio's, 127.0.0.1 and the first free
port from 7860), FADER_MODEL (a model folder or a Hub id; default assets/faces).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fader_demo import Editor, ModelError
from fader_demo.ui.page import CSS, THEME, Page
from fader_demo.ui.photo import MAX_MEGABYTES

ROOT = Path(__file__).parent
EXAMPLES = sorted((ROOT / "assets" / "examples").glob("*.[jp][pn]g"))


def main() -> None:
    host, port = os.environ.get("HOST"), os.environ.get("PORT")
    try:
        editor = Editor.from_pretrained(os.environ.get("FADER_MODEL", ROOT / "assets" / "faces"))
    except ModelError as error:
        sys.exit(f"Fader cannot start. {error}")
    page = Page(editor, EXAMPLES).build()
    page.launch(
        server_name=host,
        server_port=int(port) if port else None,
        theme=THEME,
        css_paths=CSS,
        max_file_size=f"{MAX_MEGABYTES}mb",
        state_session_capacity=200,  # visits; a photo of 12 megapixels takes 36 MB
        run_history=False,
        footer_links=[],
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
    )
    print(f"Fader is ready: open {page.local_url}", flush=True)
    page.block_thread()


if __name__ == "__main__":
    main()
