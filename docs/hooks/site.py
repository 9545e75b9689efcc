"""What MkDocs does to these pages: `make docs`.

The pages are read on disk and on GitHub too, so they name files as those see them. Here what is not
a page of the site becomes one:

    README.md → index.md                        CHANGELOG.md → changelog.md
    recipes/*.yaml → shipped-recipes.md         docs/decisions/ → decisions/index.md
    the schema of recipes → recipe-reference.md, below what that page says itself
"""

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

import recipe_reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from s2s.recipe.load import recipe_schema

LOG = logging.getLogger("mkdocs.hooks.site")

ROOT = Path(__file__).resolve().parent.parent.parent

GENERATED = ("index.md", "changelog.md", "shipped-recipes.md", "decisions/index.md")
"""Pages that are no files of `docs/`."""

DECISIONS = "Decisions"
"""The part of the navigation to which every decision is added."""

REFERENCE = "recipe-reference.md"

ITEM = re.compile(r"(?:[-*]|\d+\.) ")

LINK = re.compile(r"(\]\()([^)\s]+)(\))")

LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*?\bsrc=[\"']?(?:https?:)?//"
    r"|<link\b(?![^>]*rel=[\"']?canonical)[^>]*?\bhref=[\"']?(?:https?:)?//"
    r"|@import\s+[\"'(]+(?:https?:)?//"
)
"""What a browser would load from another server."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The decisions stand in the navigation, in their order; headings get the anchors that GitHub
    gives them, because links name those."""
    nav: list[dict[str, Any]] = config["nav"] or []
    for section in nav:
        if DECISIONS in section:
            paths = sorted((ROOT / "docs" / "decisions").glob("*.md"))
            section[DECISIONS].extend(f"decisions/{path.name}" for path in paths)
    toc: dict[str, Any] = config["mdx_configs"].setdefault("toc", {})
    toc["slugify"] = lambda text, _separator: recipe_reference.slug(text)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are generated."""
    contents = (home(), changelog(), shipped(), decisions())
    for name, content in zip(GENERATED, contents, strict=True):
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links lead to pages of the site; the recipe reference gets its fields."""
    if page.file.src_uri == REFERENCE:
        markdown = f"{markdown}\n\n{recipe_reference.tables(recipe_schema())}"
    return spaced(relinked(markdown, page.file.src_uri))


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Warn, which a strict build does not forgive, of anything that is not on this server."""
    if found := LOADED.search(output):
        LOG.warning("%s: loads from another server: %.100s", page.file.src_uri, found[0])
    return output


def home() -> str:
    """The README, as it stands in `docs/`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return LINK.sub(lambda link: f"{link[1]}{_within_docs(link[2])}{link[3]}", text)


def changelog() -> str:
    """The changelog, with files as code instead of links."""
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def shipped() -> str:
    """The recipes that come with s2s, each with its file."""
    lines = [
        "# Shipped recipes",
        "",
        "`s2s recipes list` names them, `s2s recipes copy NAME` puts one into the current folder.",
        "Their scores are in [results](results.md).",
        "",
    ]
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        text = path.read_text(encoding="utf-8").rstrip("\n")
        lines += [f"## {path.stem}", "", "```yaml", text, "```", ""]
    return "\n".join(lines)


def decisions() -> str:
    """The titles of all decisions."""
    lines = ["# Decisions", "", "The reasons behind the design, one page each.", ""]
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title}]({path.name})")
    return "\n".join(lines) + "\n"


def relinked(markdown: str, page: str) -> str:
    """The page with links to what stands for files outside `docs/`."""
    return LINK.sub(lambda link: f"{link[1]}{_on_site(link[2], page)}{link[3]}", markdown)


def spaced(markdown: str) -> str:
    """The page with a blank line before every list, which GitHub does not need and MkDocs does."""
    lines: list[str] = []
    is_code = False
    for line in markdown.split("\n"):
        is_code ^= line.startswith("```")
        before = lines[-1] if lines else ""
        follows_text = bool(before.strip()) and not before.startswith(" ")
        if not is_code and ITEM.match(line) and follows_text and not ITEM.match(before):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def _within_docs(target: str) -> str:
    """A link of a file beside `docs/` as one of a file in it."""
    if "://" in target or target.startswith("#"):
        return target
    return target.removeprefix("docs/") if target.startswith("docs/") else f"../{target}"


def _on_site(target: str, page: str) -> str:
    """A link on a page of `docs/` as one on the site."""
    if "://" in target or target.startswith("#"):
        return target
    path, _, anchor = target.partition("#")
    folder = posixpath.dirname(page)
    place = posixpath.normpath(posixpath.join("docs", folder, path))
    if found := re.fullmatch(r"recipes/([\w-]+)\.yaml", place):
        place, anchor = "docs/shipped-recipes.md", found[1]
    elif place in ("README.md", "CHANGELOG.md", "docs/decisions"):
        names = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
        place = f"docs/{names.get(place, 'decisions/index.md')}"
    else:
        return target
    moved = posixpath.relpath(place, posixpath.join("docs", folder))
    return f"{moved}#{anchor}" if anchor else moved
