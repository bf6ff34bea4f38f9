"""README and docs: every command parses, every link leads to a file and a heading."""

import os
import re
import shlex
from pathlib import Path

import pytest
import typer

from ser_hf.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page):
    """The `ser-hf` commands in the code blocks and code spans of a page, without pipes and comments."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"(?:^|\| |\$ )(ser-hf [a-z].*)$", text, re.MULTILINE) + re.findall(
        r"`(ser-hf [a-z][^`]*)`", text
    )
    return [shlex.split(re.split(r" {2,}#| \| jq| > ", line)[0].replace("...", "")) for line in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_parse(page):
    group = typer.main.get_command(app)
    for _, verb, *arguments in commands(page):
        assert verb in group.commands
        if arguments:  # a verb without arguments is a name
            group.commands[verb].make_context(verb, arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        if not link.startswith("http"):
            target = Path(os.path.normpath(page.parent / path)) if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
