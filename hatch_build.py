"""The long description of the package index: the README, whose relative links would lead nowhere there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_IMAGE = re.compile(r"^\[?!\[[^\]]*\]\((?!https?:)[^)]*\).*\n", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|mailto:)([^)]*)\)")


class ReadmeHook(MetadataHookInterface):
    """Sets the long description when a distribution is built."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Give relative links the address in `[project.urls]`, or keep their text where there is none."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository", "").rstrip("/")
        replacement = rf"[\1]({repository}/blob/main/\2)" if repository else r"\1"
        text = _LINK.sub(replacement, _IMAGE.sub("", text))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
