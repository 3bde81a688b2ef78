"README.md from nbs/index.ipynb without Quarto: what `nbdev-readme` does with it."

import re
import sys
from pathlib import Path

import nbformat
from fastcore.nbio import nb2str
from nbconvert import MarkdownExporter
from nbdev.config import get_config
from nbdev.process import NBProcessor
from nbdev.processors import (
    clean_magics,
    filter_stream_,
    hide_,
    hide_line,
    populate_language,
    rm_export,
    rm_header_dash,
    strip_ansi,
)

PROCESSORS = [
    populate_language,
    hide_line,
    filter_stream_,
    strip_ansi,
    rm_header_dash,
    rm_export,
    clean_magics,
    hide_,
]
NOTICE = "<!-- Generated from nbs/index.ipynb by `make export`: edit the notebook. -->\n\n"


def readme(config):
    "The text of README.md"
    notebook = NBProcessor(config.nbs_path / config.readme_nb, PROCESSORS, process=True).nb
    for cell in notebook.cells:
        for key in ("idx_", "directives_"):
            cell.pop(key, None)
    notebook.metadata["language_info"] = {"name": "python"}  # names the language of the code blocks
    body, resources = MarkdownExporter().from_notebook_node(nbformat.reads(nb2str(notebook), 4))
    if resources["outputs"]:
        sys.exit("index.ipynb shows an image as output: link one of nbs/images instead")
    body = re.sub(r"(?<=\]\()(?!\w+:|#|/)(?=[^)]+\.(?:ipynb|svg)\b)", f"{config.nbs_path.name}/", body)
    return NOTICE + re.sub(r"\n{3,}", "\n\n", body.strip()) + "\n"


if __name__ == "__main__":
    config = get_config()
    Path(config.config_path, "README.md").write_text(readme(config))
