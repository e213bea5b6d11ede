"""What the site shows of the repository beside docs/: pages at its root, and the files to which pages link.

README, the index of the site, and the other pages at the root become pages of the site. A page links to
`../results/x.png` or `../tests/x.py` as it would on the repository's host: these files join the site, so that the same
links work in it; a source becomes a text file, which a browser shows.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LOG.md": "log.md",
}
LINK_OF_ROOT = re.compile(r"\]\((?=[\w./-]+[)#])")
LINK = re.compile(r"\]\(((?:\.\./)+[\w./-]+)")
SHOWN = {".png", ".gif", ".json"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages at the root, and every file outside docs/ to which a page links."""
    docs = Path(config.docs_dir)
    for name, page in PAGES.items():
        text = LINK_OF_ROOT.sub("](../", (ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text.replace("](../docs/", "](")))
    for page in list(files.documentation_pages()):
        for link in LINK.findall(page.content_string):
            path = (docs / page.src_uri).parent.joinpath(link).resolve()
            if path.is_relative_to(docs) or not path.is_relative_to(ROOT) or not path.is_file():
                continue  # MkDocs finds a link that is dead.
            name = path.relative_to(ROOT).as_posix()
            if name in PAGES or f"../{name}" in files.src_uris:
                continue
            file = File.generated(config, f"../{name}", abs_src_path=str(path), inclusion=InclusionLevel.INCLUDED)
            file.dest_uri = name if path.suffix in SHOWN else f"{name}.txt"
            files.append(file)
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to the pages at the root as pages of the site."""
    for name, page in PAGES.items():
        markdown = markdown.replace(f"](../{name})", f"]({page})")
    return markdown
