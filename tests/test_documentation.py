"""The pages: cells are short, links lead somewhere, the Files picture is complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path

import pytest

import jupyter_relay
from jupyter_relay.link.actions import Happening
from jupyter_relay.link.life import Life
from jupyter_relay.link.table import State
from jupyter_relay.settings.options import OPTIONS
from jupyter_relay.wire.message import Channel

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src" / "jupyter_relay"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
DESIGN = ROOT / "docs" / "design.md"
GLOSSARY = ROOT / "docs" / "glossary.md"

MAX_CELL = 300

FOREIGN_FILES = {"jupyter_server_config.py", "kernel.js", "nginx.conf"}
"""Files of other projects and of users, which pages name without a folder."""

FOREIGN_NAMES = {"SSL_CERT_DIR", "TCP_USER_TIMEOUT"}
"""Names of other projects that no code of ours uses."""


def without_code(text: str) -> str:
    """Return a page's text without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def cells(text: str) -> Iterator[str]:
    """Every cell of the tables in a page."""
    for line in without_code(text).splitlines():
        if line.lstrip().startswith("|"):
            yield from (cell.strip() for cell in line.strip().strip("|").split("|"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code_spans(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", without_code(text)))


@cache
def words_of_the_code() -> frozenset[str]:
    """Every word in what the pages can name: code, configuration, names of files, variables."""
    folders = ("src", "tests", "tools", "bench", "examples", "labextension/src")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.*")]
    texts = [path for path in files if path.suffix in {".py", ".ts", ".yaml", ".conf"}]
    texts += [ROOT / name for name in ("pyproject.toml", "Makefile", "hatch_build.py")]
    words = {word for path in texts for word in re.findall(r"\w+", path.read_text())}
    words |= {word for path in [*files, *PAGES] for word in re.findall(r"\w+", path.name)}
    return frozenset(words | {option.variable for option in OPTIONS if option.variable})


def glossary() -> list[list[str]]:
    """The terms of each entry: most have one, some have two that belong together."""
    entries = re.findall(r"^\*   (\*\*.+?):\s", GLOSSARY.read_text(), flags=re.MULTILINE)
    return [re.findall(r"\*\*(.+?)\*\*", entry) for entry in entries]


def terms() -> set[str]:
    return {term.lower() for entry in glossary() for term in entry}


def drawn_modules() -> Iterator[str]:
    """The modules in the Files picture of the design, as paths below the package's folder."""
    picture = re.search(
        r"^## Files\n+```\n(.*?)^```$", DESIGN.read_text(), re.MULTILINE | re.DOTALL
    )
    assert picture, "docs/design.md has no section Files with a picture"
    folders: list[str] = []
    lines = iter(picture[1].splitlines())
    assert next(lines) == "src/jupyter_relay/"
    for line in lines:
        if not line.startswith("  "):
            break
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        name = line.split()[0]
        del folders[depth:]
        if name.endswith("/"):
            folders.append(name)
        else:
            yield "".join(folders) + name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_table_cell_is_no_longer_than_can_be_read_at_a_glance(page: Path) -> None:
    assert [cell for cell in cells(page.read_text()) if len(cell) > MAX_CELL] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_file_that_a_page_names_exists(page: Path) -> None:
    everywhere = {path.name for path in ROOT.glob("*.*")} | {
        path.name
        for folder in ("src", "tests", "tools", "bench", "docs", "examples", "labextension/src")
        for path in (ROOT / folder).rglob("*.*")
    }
    missing = []
    for span in code_spans(page.read_text()):
        if not re.fullmatch(r"[\w./-]+\.(py|md|toml|txt|conf|ts|ipynb)", span):
            continue
        if "/" not in span:
            found = span in everywhere | FOREIGN_FILES
        else:
            found = any((base / span).exists() for base in (ROOT, SOURCES))
        if not found:
            missing.append(span)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_name_in_a_page_is_still_used_in_the_code(page: Path) -> None:
    unknown = []
    for span in code_spans(page.read_text()):
        words = re.findall(r"\w+", span)
        if re.fullmatch(r"[A-Za-z_][\w.]*(\(\))?", span) and span not in FOREIGN_NAMES:
            unknown += [word for word in words if word not in words_of_the_code()]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_target_in_a_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:\$ |`)make ((?:[a-z-]+ ?)+)", page.read_text())
    assert {name for names in named for name in names.split()} - targets == set()


def test_files_picture_names_every_module_and_no_other() -> None:
    drawn = list(drawn_modules())
    packages = {path.relative_to(SOURCES).as_posix() for path in SOURCES.glob("*/**/__init__.py")}
    modules = {path.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.py")} - packages
    assert sorted(drawn) == sorted(modules)


def test_glossary_is_in_alphabetical_order_and_has_each_term_once() -> None:
    first = [entry[0].lower() for entry in glossary()]
    assert len(first) > 100
    assert first == sorted(set(first))


@pytest.mark.parametrize("page", [DESIGN, ROOT / "docs" / "link.md"], ids=lambda page: page.name)
def test_glossary_has_each_term_that_a_page_marks(page: Path) -> None:
    """A page marks a term by setting it in italics."""
    text = re.sub(r"`[^`]*`", "", without_code(page.read_text()))
    marked = {
        " ".join(term.split()).lower()
        for term in re.findall(r"(?<![*\w])\*(?!\s)([^*]+?)(?<!\s)\*(?![*\w])", text)
    }
    assert {
        term for term in marked if term not in terms() and term.rstrip("s") not in terms()
    } == set()


@pytest.mark.parametrize("kind", [State, Life, Happening, Channel])
def test_glossary_has_each_state_or_kind_that_people_can_read(kind: type[Enum]) -> None:
    text = GLOSSARY.read_text()
    assert [str(member.value) for member in kind if str(member.value) not in text] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", DESIGN], ids=lambda page: page.name)
def test_glossary_is_linked_from_the_readme_and_the_design(page: Path) -> None:
    assert "glossary.md)" in page.read_text()


def test_glossary_has_the_public_names() -> None:
    text = GLOSSARY.read_text()
    assert [name for name in jupyter_relay.__all__ if name[0] != "_" and name not in text] == []
