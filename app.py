"""Serves the editor: `python app.py` here, and the entry point on Hugging Face Spaces.

Settings are environment variables: HOST and PORT (default: Gradio's, 127.0.0.1 and the first free
port from 7860); FADER_MODELS (model folders or Hub ids, separated by commas; default: every model
in assets/); MCP=1 offers the endpoints as tools of the Model Context Protocol too.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from fader_demo import ModelError
from fader_demo.models import Models, find_models
from fader_demo.ui.page import AT_ONCE, CSS, THEME, Page
from fader_demo.ui.photo import MAX_MEGABYTES
from fader_demo.ui.temporary import temporary_folder

ROOT = Path(__file__).parent
ASSETS = ROOT / "assets"
EXAMPLES = sorted((ASSETS / "examples").glob("*.[jp][pn]g"))


def main() -> None:
    # Threads that wait for one another on busy cores cost more than they save.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // AT_ONCE))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # or no folder would be cleared away
    try:
        models = Models(find_models(ASSETS, os.environ.get("FADER_MODELS")))
    except ModelError as error:
        sys.exit(f"Fader cannot start. {error}")
    with temporary_folder():
        serve(models, os.environ.get("HOST"), os.environ.get("PORT"))


def serve(models: Models, host: str | None, port: str | None) -> None:
    page = Page(models, EXAMPLES).build()
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
        mcp_server=os.environ.get("MCP") == "1",
    )
    print(f"Fader is ready: open {page.local_url}", flush=True)
    try:
        page.block_thread()
    finally:
        page.close(verbose=False)


if __name__ == "__main__":
    main()
