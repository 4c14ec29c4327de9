"""What the site takes from outside `docs/`: pages that lie beside the code, and the plots of the benchmarks.

On a code host the same Markdown reads `../benchmarks/plots/step.svg`; in the site that file is
`plots/step.svg`. MkDocs calls the two functions below.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks-method.md",
}

_LINK = re.compile(r"\]\(([^)\s:#]+)(#[^)\s]*)?\)")  # to a file, not to another host


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and the plots."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for plot in sorted((ROOT / "benchmarks" / "plots").iterdir()):
        files.append(File.generated(config, f"plots/{plot.name}", abs_src_path=str(plot)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at the places that their targets have in the site."""
    folder = Path(page.file.abs_src_path).parent
    return _LINK.sub(lambda link: f"]({_place(folder, link[1])}{link[2] or ''})", markdown)


def _place(folder: Path, target: str) -> str:
    """Return where a file of the repository, named as from `folder`, is in the site."""
    path = Path(os.path.normpath(folder / target))
    if not path.is_relative_to(ROOT):
        return target
    name = path.relative_to(ROOT).as_posix()
    return PAGES.get(name) or re.sub("^(docs|benchmarks)/", "", name)
