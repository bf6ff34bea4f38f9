"""Options that several verbs share, and how `key=value` words on the command line are read."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option
from typer.core import TyperCommand

from ..utils.errors import UserError

if TYPE_CHECKING:
    from ..experiment.recipe import Recipe

Model = Annotated[
    str, Argument(metavar="MODEL", help="A run folder, a model folder or a Hub id, of any audio classifier.")
]
RecipeFile = Annotated[str, Argument(metavar="RECIPE", help="YAML file; recipes/ holds examples.")]
Overrides = Annotated[list[str] | None, Argument(metavar="section.key=value", help="Replace a value of the recipe.")]
CorpusWords = Annotated[
    list[str] | None, Argument(metavar="key=value", help="Options of the corpus, or keys of the recipe.")
]
Revision = Annotated[str | None, Option(metavar="REV", help="Branch, tag or commit of a model on the Hub.")]
TrustRemoteCode = Annotated[
    bool, Option("--trust-remote-code", help="Run code from the model's repository; models of ser_hf do not need it.")
]
Device = Annotated[
    str | None, Option(metavar="DEVICE", help="Such as cpu or cuda:1.  [default: the GPU, if there is one]")
]
BatchSize = Annotated[int, Option(metavar="N", help="Windows in a batch.")]
Resume = Annotated[bool, Option("--resume", help="Continue the run in the output folder where it stopped.")]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace what the output folder holds.")]
Private = Annotated[bool, Option("--private", help="New repositories are private.")]


class VerbCommand(TyperCommand):
    """A command whose options may take several values (`--clips A B`) or none (`--space`).

    Typer itself expects exactly one value after each option.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        metavars = {name: param.metavar or "" for param in self.params for name in param.opts if name[:1] == "-"}
        several = {name for name, metavar in metavars.items() if metavar.endswith("...")}
        optional = {name for name, metavar in metavars.items() if metavar.startswith("[")}
        given: list[str] = []
        current = None  # the option whose further values these words are
        for word, following in zip(args, [*args, "-"][1:], strict=True):
            if word.startswith("-"):
                current = None
            elif current is not None and given[-1] != current:
                given.append(current)
            given.append(word)
            if word in several:
                current = word
            elif word in optional and following.startswith("-"):
                given.append("")
        return super().parse_args(ctx, given)


def require_one_of(resume: bool, overwrite: bool) -> None:
    """Refuses --resume together with --overwrite."""
    if resume and overwrite:
        raise UserError("--resume: contradicts --overwrite; give one of the two")


def recipe_path(path: str) -> str:
    """The recipe's file, also where a run folder is given."""
    return os.path.join(path, "recipe.yaml") if os.path.isdir(path) else path


def corpus_recipe(corpus: str, root: str | None, words: Sequence[str], protocol: str | None = None) -> "Recipe":
    """A recipe of one corpus, to read it by: `words` are overrides such as ``corpus.drop=[calm]``."""
    from ..experiment.recipe_checks import read_recipe

    values: dict[str, Any] = {"name": "evaluation", "corpus": {"name": corpus}, "model": {"architecture": "crnn"}}
    if root is not None:
        values["corpus"]["root"] = root
    if protocol is not None:
        values["protocol"] = {"name": protocol}
    return read_recipe(values, words)


def root_or_word(root: str | None, words: Sequence[str] | None) -> tuple[str | None, list[str]]:
    """The folder and the `key=value` words, where a word may stand in the place of an omitted folder."""
    if root is not None and "=" in root and not os.path.exists(root):
        return None, [root, *(words or ())]
    return root, list(words or ())


def typed_options(words: Sequence[str], known: Mapping[str, tuple[Any, Any]], section: str) -> dict[str, Any]:
    """Values of `key=value` words by key.

    Args:
        known: type and default of each key.
        section: what the keys belong to; a word may name it (``corpus.takes=1``).

    Raises:
        UserError: naming the word or the key.
    """
    from ..utils.yaml import coerce, parse_yaml, unknown_key

    values = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.removeprefix(f"{section}.")
        if not equals:
            raise UserError(f"{word}: expected an option of the {section} as key=value")
        if key not in known:
            raise unknown_key(f"{section}.{key}", known)
        values[key] = coerce(parse_yaml(text, f"the option {word}"), known[key][0], f"{section}.{key}")
    return values
