"""The site builds without a warning."""

from __future__ import annotations

import logging

import pytest

from tests.docs.pages import ROOT

pytest.importorskip("mkdocs", reason="mkdocs is absent: pip install '.[docs]'")


def test_the_site_builds_without_a_warning(tmp_path, caplog, monkeypatch):
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path))
    with caplog.at_level(logging.WARNING, "mkdocs"):
        build(config)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("mkdocs")] == []
    pages = {page.name for page in tmp_path.glob("*.html")}
    assert {"index.html", "api.html", "architecture.html", "changelog.html"} <= pages
    api = (tmp_path / "api.html").read_text(encoding="utf-8")
    assert 'id="soundstorm_runtime.Voice.speak"' in api
