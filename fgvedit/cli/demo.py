"""The command line that serves the page: `python -m fgvedit.demo`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from fgvedit.cli.options import add_common_options, backbone_request, parse_overrides
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.devices import parse_dtype
from fgvedit.util.errors import FGVEditError

EXAMPLES = """\
examples:
  python -m fgvedit.demo
      MSCKE on the embedded backbone, images of the embedded data; open the address that it prints
  python -m fgvedit.demo --editor wise
      another editor
  python -m fgvedit.demo --backbone blip2-opt-2.7b --checkpoint runs/train-mscke-blip2-opt-2.7b --device cuda
      another backbone, with a checkpoint that was trained for it
  python -m fgvedit.demo --host 0.0.0.0 --port 8000
      for everybody who can reach this machine; without --host nobody else can

The page needs no network. Each visitor's edits are its own, and go when its tab is closed or loaded again.
"""


def parser() -> ArgumentParser:
    """The options of `python -m fgvedit.demo`."""
    options = ArgumentParser(
        prog="python -m fgvedit.demo",
        description="A page in the browser: pick or upload an image, ask, edit, ask again, see why, undo.",
        epilog=EXAMPLES,
    )
    options.add_argument(
        "--editor",
        default="mscke",
        metavar="NAME",
        help="a registered editor, PACKAGE.MODULE:CLASS or FILE.py:CLASS; default: %(default)s",
    )
    options.add_argument(
        "--checkpoint", type=Path, metavar="DIR", help="of a trained editor; default: the one shipped for the backbone"
    )
    options.add_argument(
        "--dataset", default="scenes", metavar="NAME", help="whose test split gives images; default: %(default)s"
    )
    options.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on; default: %(default)s")
    options.add_argument("--port", type=int, metavar="N", help="default: the first free one from 7860")
    add_common_options(options)
    return options


def main(argv: list[str] | None = None) -> None:
    """Serve the page until it is stopped."""
    options = parser().parse_args(argv)
    if options.port is not None and not 1 <= options.port <= 65535:
        raise FGVEditError(f"--port is {options.port}; expected 1 to 65535, or no --port for a free one")
    overrides = parse_overrides(options.set)
    parse_dtype(options.dtype)

    # What can be wrong with the options is said before anything that takes long is imported or opened.
    with tempfile.TemporaryDirectory(prefix="fgvedit-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # goes when the program ends
        from fgvedit.backbones import open_backbone
        from fgvedit.dataset import load_records
        from fgvedit.editors.registry import open_editor
        from fgvedit.viewers.demo.page import build, serve
        from fgvedit.viewers.demo.session import SharedModel

        request = backbone_request(options)
        records = load_records(options.dataset).records
        editor = open_editor(options.editor, open_backbone(**request), overrides, options.checkpoint)
        page = build(SharedModel(editor, options.seed), records)
        address = serve(page, options.host, options.port)
        print(f"{editor.name} on {editor.backbone.name}: {address} (Ctrl+C ends it)", flush=True)
        page.block_thread()
