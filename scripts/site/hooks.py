"""Hooks of mkdocs.yml: pages that stand in the root of the repository, links into the sources, equations as MathML.

A page's links hold as they are for who reads the files; here those that leave docs/ are turned into pages of the site, or
into plain text where the site has none (a source file). Browsers draw MathML themselves: no script of another host is needed.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
FROM_ROOT = {"ARCHITECTURE.md": "architecture.md", "CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}
LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    for source, page in FROM_ROOT.items():
        text = LINK.sub(_below_docs, (ROOT / source).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    return files


def _below_docs(link: re.Match[str]) -> str:
    text, target, anchor = link[1], link[2], link[3] or ""
    return f"[{text}]({FROM_ROOT.get(target, target.removeprefix('docs/'))}{anchor})"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links that leave docs/: to pages of the root, or no links."""

    def rewritten(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        if not target.startswith("../"):
            return link[0]
        if not (ROOT / "docs" / target).exists():
            raise FileNotFoundError(f"{page.file.src_path}: {target} does not exist")
        name = target.removeprefix("../")
        return f"[{text}]({FROM_ROOT[name]}{anchor})" if name in FROM_ROOT else text

    return LINK.sub(rewritten, markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Equations, written as LaTeX between dollars, as MathML."""

    def drawn(found: re.Match[str]) -> str:
        display = "block" if found[2] == "[" else "inline"
        return latex2mathml.converter.convert(html.unescape(found[3]).strip(), display=display)

    return EQUATION.sub(drawn, content)
