"""What the site takes from outside `docs/`: pages that lie beside the code, and the plots of the benchmarks.

On a code host the same Markdown reads `../benchmarks/plots/step.svg`; in the site that file is
`plots/step.svg`. MkDocs calls the two functions below.
"""

from __future__ import annotations

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


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and the plots."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for plot in sorted((ROOT / "benchmarks" / "plots").iterdir()):
        files.append(File.generated(config, f"plots/{plot.name}", abs_src_path=str(plot)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links that leave `docs/` at their places in the site."""
    for source, name in PAGES.items():
        markdown = markdown.replace(f"](../{source}", f"]({name}")
    markdown = re.sub(r"\]\((?:\.\./benchmarks/)?plots/", "](plots/", markdown)
    if page.file.src_uri in PAGES.values():  # its links start at the root, or in benchmarks/
        markdown = re.sub(r"\]\((?:\.\./)?docs/", "](", markdown)
    return markdown
