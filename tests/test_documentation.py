"""README and docs: commands parse, links lead somewhere, recipes can be read, site and reference
are complete. Without mkdocs: `.ci/run docs` builds the site."""

import ast
import importlib.util
import inspect
import itertools
import os
import pkgutil
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from accelerate.commands.launch import launch_command_parser
from support.pages import OF_THE_SITE, PAGES, ROOT, blocks, name_of, named_recipes
from torch.distributed.run import get_args_parser

import ser_hf
from ser_hf.cli import app
from ser_hf.cli.options import corpus_recipe, root_or_word
from ser_hf.corpora.download import downloadable
from ser_hf.experiment.reading import read_recipe
from ser_hf.loading.download import weights_files
from ser_hf.models import ARCHITECTURES as NETWORKS
from ser_hf.sweeps.space import read_space
from ser_hf.utils.yaml import parse_yaml

RECIPES = {name: parse_yaml(text, name) for name, text in named_recipes().items()}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
].keys()


def commands(page):
    """The words of each command in shell blocks and code spans of a page, without variables and
    comments.
    """
    text = page.read_text(encoding="utf-8")
    lines = [
        line for block in blocks(page, "bash") for line in block.replace("\\\n", "").splitlines()
    ]
    lines += re.findall(r"^\$ (.*)$", text, re.MULTILINE)
    lines += re.findall(r"`((?:\w+=\S+ )?(?:ser-hf|accelerate|torchrun|python|pip)\s[^`]*)`", text)
    for line in lines:
        words = shlex.shlex(line.replace("...", ""), posix=True, punctuation_chars="|&;>")
        words.whitespace_split = True
        for stop, command in itertools.groupby(words, key=lambda word: set(word) <= set("|&;>")):
            command = [*itertools.dropwhile(lambda word: re.match(r"\w+=", word), command)]
            if command and not stop:
                yield command


def test_words_of_commands(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        '```bash\nA=1 b "c d" \\\n  e | f > g  # h\n```\n\n```console\n$ i\nj\n```\n\n`ser-hf '
        "k\nl`, `m`"
    )
    assert [*commands(page)] == [["b", "c d", "e"], ["f"], ["g"], ["i"], ["ser-hf", "k", "l"]]


def launched(program, *words):
    """The words of `ser-hf train` that a launcher is given, after a check of its own options."""
    if program == "python":
        assert words[:2] == ("-m", "ser_hf.train")
        return words[2:]
    parser = get_args_parser() if program == "torchrun" else launch_command_parser()
    given = parser.parse_args(words[program == "accelerate" :])
    assert given.module
    assert given.training_script == "ser_hf.train"
    assert program == "torchrun" or given.config_file is None or (ROOT / given.config_file).exists()
    return given.training_script_args


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_parse(page, monkeypatch):
    """Verbs and options exist; recipes and corpora are accepted with their overrides."""
    monkeypatch.chdir(ROOT)
    group = typer.main.get_command(app)
    for words in commands(page):
        if "ser_hf.train" in words:
            words = ["ser-hf", "train", *launched(*words)]
        if words[0] == "python" and words[1].endswith(".py"):
            assert Path(words[1]).exists()
        for extras in re.findall(r"\.\[([\w,]+)\]", " ".join(words)) if words[0] == "pip" else ():
            assert {*extras.split(",")} <= EXTRAS
        if words[0] != "ser-hf" or not words[1][0].islower():  # not a verb, or the word VERB
            continue
        _, verb, *arguments = words
        assert verb in group.commands
        if arguments:  # a verb without arguments is a name
            check_values(verb, group.commands[verb].make_context(verb, arguments).params)


def check_values(verb, given):
    if verb in ("train", "sweep", "doctor") and given["recipe"] != "RECIPE":
        read_recipe(RECIPES.get(given["recipe"], given["recipe"]), given["overrides"] or ())
    if verb == "sweep":
        assert Path(given["space"]).exists() or given["space"].isupper()
    elif verb == "inspect" and given["corpus"] != "CORPUS":
        corpus_recipe(given["corpus"], *root_or_word(given["root"], given["words"]))
    elif verb == "evaluate" and given["recipe"] is None:
        corpus_recipe(given["corpus"], given["root"], given["words"], given["protocol"])
    elif verb == "download" and given["corpus"] == "weights":
        names = {weights.name for weights in weights_files()}
        assert given["folder"] in {None, "NAME"} | names
    elif verb == "download":
        assert given["corpus"] in downloadable()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "docs/llms.txt"], ids=name_of)
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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_recipes_can_be_read(page):
    for block in blocks(page, "yaml"):
        values = parse_yaml(block, page.name)
        if "search" in values:
            read_space(values)
        else:
            read_recipe(
                {"corpus": {"name": "synthetic"}, "model": {"architecture": "crnn"}} | values
            )


def test_names_of_the_package_exist():
    for page in PAGES:
        for name in {*re.findall(r"\bser_hf(?:\.\w+)+", page.read_text(encoding="utf-8"))} - {
            NETWORKS.group
        }:
            pkgutil.resolve_name(name)


def reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_keys_in_code_spans_exist():
    """In the sections whose keys do not depend on a corpus, a network or a protocol."""
    fields = reference().recipe_fields()
    keys = {*fields, *(f"{section}.{key}" for section in fields for key in fields[section])}
    for page in PAGES:
        spans = re.findall(
            r"`((?:audio|augment|evaluation|freeze|hub|lora|training)(?:\.\w+)+)(?:[:=]|`)",
            page.read_text(),
        )
        assert {*spans} <= keys, page


def test_each_part_of_the_reference_is_on_one_page():
    module = reference()
    parts = module.MARKER.findall("\n".join(page.read_text() for page in OF_THE_SITE))
    assert sorted(parts) == sorted(module.PARTS)


@pytest.mark.parametrize("name", sorted(reference().STORED))
def test_stored_pages_are_what_the_code_says(name):
    """Otherwise run `python docs/reference.py`."""
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == reference().stored_page(name)


@pytest.mark.parametrize("name", sorted({*ser_hf.__all__} - {"__version__"}))
def test_public_objects_have_examples_that_fit_their_signatures(name):
    (code,) = re.findall(
        r"^ *Example: `(.+)`$", inspect.getdoc(getattr(ser_hf, name)), re.MULTILINE
    )
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
