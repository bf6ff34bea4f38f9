"""README and docs: commands parse, links lead somewhere, recipes can be read, site and reference are complete. Without
mkdocs: `.ci/run docs` builds the site."""

import ast
import importlib.util
import inspect
import os
import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

import ser_hf
from ser_hf.cli import app
from ser_hf.experiment.recipe_checks import read_recipe
from ser_hf.utils.yaml import parse_yaml

ROOT = Path(__file__).parents[1]
OF_THE_SITE = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")), *OF_THE_SITE]


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


def test_every_page_is_in_the_navigation_once():
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    named = re.findall(r"[\w/-]+\.md", str(navigation))
    assert sorted(named) == [page.relative_to(ROOT / "docs").as_posix() for page in OF_THE_SITE]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_recipes_can_be_read(page):
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        values = parse_yaml(block, page.name)
        if {"corpus", "model"} <= values.keys():
            read_recipe(values)


def test_the_reference_has_every_key_and_every_part():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    page = (ROOT / "docs" / "recipe-keys.md").read_text()
    assert reference.documented_keys(page) == {place: {*keys} for place, keys in reference.recipe_fields().items()}
    parts = reference.MARKER.findall("\n".join(page.read_text() for page in OF_THE_SITE))
    assert sorted(parts) == sorted(reference.PARTS)


@pytest.mark.parametrize("name", sorted({*ser_hf.__all__} - {"__version__"}))
def test_public_objects_have_examples_that_fit_their_signatures(name):
    (code,) = re.findall(r"^ *Example: `(.+)`$", inspect.getdoc(getattr(ser_hf, name)), re.MULTILINE)
    used = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[0] == "ser_hf":
            used[node.func.attr] = node
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "ser_hf":
            used.setdefault(node.attr, None)
    assert name in used
    for name, call in used.items():
        if call is not None:
            words = {word.arg: word.value for word in call.keywords}
            inspect.signature(getattr(ser_hf, name)).bind(*call.args, **words)
