"""A hook of mkdocs.yml: the parts of the reference that follow from the code.

A line `<!-- from the code: NAME -->` of a page becomes what the function NAME below returns. Links
out of docs/ lead to the repository. `python docs/reference.py` writes all files of the repository
that follow from the code: the pages in `STORED`, which readers see without building the site, and
the schema of recipes for editors.
"""

import inspect
import re
import types
import typing
from pathlib import Path

MARKER = re.compile(r"^<!-- from the code: (\w+) -->$", re.MULTILINE)
# After the first line, a page follows from the code: up to the second line, or to its end.
WRITTEN = "<!-- written by python docs/reference.py -->\n"
WRITTEN_END = "<!-- end of what python docs/reference.py writes -->\n"


def on_page_markdown(markdown, page, config, files):
    markdown = MARKER.sub(lambda found: PARTS[found[1]](), markdown)
    repository = f"{config.repo_url}/blob/main/"
    up = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\]\({re.escape(up)}(?!\.)", f"]({repository}", markdown)


def recipe_sections():
    """{section: class} of recipes; the section of keys at the top is empty.

    Sections that depend on a corpus or a protocol have the keys that all of them have; `model` has
    those of encoders.
    """
    from ser_hf.experiment.model_settings import EncoderSettings
    from ser_hf.experiment.recipe import Recipe

    sections = {}

    def add(kind, section):
        sections[section] = kind
        for name, field in kind.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                inner = EncoderSettings if name == "model" else field.annotation
                add(inner, f"{section}.{name}".strip("."))

    add(Recipe, "")
    return sections


def recipe_fields():
    """{section: {key: field}} of recipes, without sections and records."""
    fields = {}
    for section, kind in recipe_sections().items():
        fields[section] = {
            name: field
            for name, field in kind.model_fields.items()
            if not hasattr(field.annotation, "model_fields") and name != "provenance"
        }
    return {section: keys for section, keys in fields.items() if keys}


def recipe_keys():
    """The tables of recipe-keys.md: the keys of each section, with what their classes say."""
    defaults = {"name": "name of the file", "output_dir": "`runs/NAME`"}
    parts = []
    sections = recipe_sections()
    for section, fields in recipe_fields().items():
        parts.append(f"\n## {f'`{section}`' if section else 'The recipe itself'}\n\n")
        if section:
            parts.append(f"{one_paragraph(inspect.getdoc(sections[section]))}\n\n")
        parts.append(key_table(fields, defaults if section == "" else {}))
    return "".join(parts)


def key_table(fields, defaults=types.MappingProxyType({})):
    """A table of keys: {name: field}, with defaults in words where the field does not say them."""
    from ser_hf.utils.settings import annotation_of
    from ser_hf.utils.validation import expected

    lines = ["| key | type and range | default | meaning |\n|---|---|---|---|\n"]
    for name, field in fields.items():
        default = "required" if field.is_required() else f"`{as_yaml(field.get_default())}`"
        default = defaults.get(name, default)
        kind = expected(annotation_of(field))
        lines.append(f"| `{name}` | {kind} | {default} | {field.description} |\n")
    return "".join(lines)


def corpus_keys():
    """The keys that a corpus has beside those of all corpora."""
    from ser_hf.corpora.catalog import CORPORA, settings_class
    from ser_hf.corpora.settings import CorpusSettings

    return keys_by_name({name: settings_class(name) for name in CORPORA}, CorpusSettings)


def protocol_keys():
    """The keys that a protocol has beside those of all protocols."""
    from ser_hf.protocols import PROTOCOLS
    from ser_hf.protocols.settings import ProtocolSettings

    classes = {name: protocol.settings for name, protocol in PROTOCOLS.items()}
    return keys_by_name(classes, ProtocolSettings)


def keys_by_name(classes, base):
    """A section for each set of keys, with the names that have it."""
    names_of_class = {}
    for name, kind in classes.items():
        names_of_class.setdefault(kind, []).append(f"`{name}`")
    parts = []
    for kind, names in names_of_class.items():
        fields = {
            name: field
            for name, field in kind.model_fields.items()
            if name not in base.model_fields
        }
        parts.append(f"## {', '.join(names)}\n\n{one_paragraph(inspect.getdoc(kind))}\n\n")
        parts.append(f"{key_table(fields)}\n" if fields else "No further keys.\n\n")
    return "".join(parts)


def words(kind):
    """An annotation in words: its type and, if it has one, its range."""
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin is typing.Annotated:
        return words(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(words(choice) for choice in arguments)
    if origin is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin is list:
        return f"list of: {words(arguments[0])}"
    if kind is dict or origin is dict:
        return f"mapping to: {words(arguments[1])}" if arguments else "mapping"
    if isinstance(kind, type) and hasattr(kind, "model_fields"):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    plain = {
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "text",
        type(None): "null",
    }
    return plain.get(kind, "list" if kind is list else "any value")


def as_yaml(value):
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_yaml, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def one_paragraph(text):
    return " ".join(re.sub(r"``([^`]*)``", r"`\1`", text).split())


def network_keys():
    """The keys of each configuration class of the networks, with their descriptions."""
    from ser_hf.models import ARCHITECTURES
    from ser_hf.models.configuration import WaveformConfig
    from ser_hf.models.options import options_of

    named = {}
    for name, model in ARCHITECTURES.items():
        for kind in reversed(model.config_class.__mro__):
            if issubclass(kind, WaveformConfig):
                named.setdefault(kind, [])
        named[model.config_class].append(f"`{name}`")
    parts = []
    for kind, architectures in named.items():
        options = options_of(kind)
        defined_here = [name for name in inspect.get_annotations(kind) if name in options]
        based = [
            f"[{parent.__name__}](#{parent.__name__.lower()})"
            for parent in kind.__bases__
            if parent in named
        ]
        parts.append(f"## {kind.__name__}\n")
        used = f"The keys of {', '.join(architectures)}. " if architectures else ""
        parts.append(used + (f"All keys of {' and '.join(based)} too.\n" if based else "") + "\n")
        if defined_here:
            parts.append("| key | type and range | default | meaning |\n|---|---|---|---|\n")
        for name in defined_here:
            option = options[name]
            default = f"`{as_yaml(option.default)}`"
            parts.append(f"| `{name}` | {option.expected} | {default} | {option.description} |\n")
        parts.append("\n")
    return "".join(parts)


def command_line():
    import typer

    from ser_hf.cli import app

    group = typer.main.get_command(app)
    parts = []
    for verb, command in sorted(group.commands.items()):
        context = command.make_context(
            verb, [], resilient_parsing=True, terminal_width=100, max_content_width=100
        )
        context.info_name = f"ser-hf {verb}"
        parts.append(f"## `ser-hf {verb}`\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def python_api():
    import ser_hf

    parts = []
    for name in sorted(set(ser_hf.__all__) - {"__version__"}, key=str.lower):
        own = getattr(ser_hf, name)
        parts.append(
            f"::: {own.__module__}.{own.__qualname__}\n    options:\n      heading_level: 3\n"
        )
    return "\n".join(parts)


def report_keys():
    from ser_hf.report.report import Report

    parts = []
    kinds = [Report]
    for kind in kinds:  # grows
        parts.append(f"## {kind.__name__}\n\n{one_paragraph(inspect.getdoc(kind))}\n\n")
        parts.append("| key | type | meaning |\n|---|---|---|\n")
        for name, field in kind.model_fields.items():
            parts.append(
                f"| `{field.alias or name}` | {words(field.annotation)} | "
                f"{field.description or ''} |\n"
            )
            kinds += [section for section in models_in(field.annotation) if section not in kinds]
        parts.append("\n")
    return "".join(parts)


def models_in(kind):
    if hasattr(kind, "model_fields"):
        return [kind]
    models = []
    for argument in typing.get_args(kind):
        models += models_in(argument)
    return models


def metric_definitions():
    from ser_hf.evaluation.metrics import METRICS

    rows = [
        f"| `{key}` | {metric.name} | {metric.definition} |\n" for key, metric in METRICS.items()
    ]
    return "| key | name | definition |\n|---|---|---|\n" + "".join(rows)


def corpus_licenses():
    """The license of each corpus, and whether it excludes commercial use."""
    from ser_hf.corpora.catalog import corpus_settings
    from ser_hf.corpora.registry import OWN_CORPORA, metadata_of

    rows = []
    for name, module in OWN_CORPORA.items():
        if not hasattr(module, "LICENSE"):
            continue  # the user describes these corpora
        metadata = metadata_of(corpus_settings(name, root="."))
        title = f"[{metadata.title}]({metadata.url})" if metadata.url else metadata.title
        license = "none of the standard ones" if metadata.license == "other" else metadata.license
        commercial = "no" if metadata.non_commercial else "yes"
        speech = "acted" if metadata.acted else "not acted"
        rows.append(f"| {title} | `{name}` | {license} | {commercial} | {speech} |\n")
    return (
        "| corpus | `corpus.name` | license | commercial use | speech |\n"
        "|---|---|---|---|---|\n" + "".join(rows)
    )


PARTS = {part.__name__: part for part in (command_line, python_api)}

# Pages that are in the repository with what follows from the code.
STORED = {
    "recipe-keys.md": recipe_keys,
    "network-keys.md": network_keys,
    "corpus-keys.md": corpus_keys,
    "protocol-keys.md": protocol_keys,
    "report-keys.md": report_keys,
    "metrics.md": metric_definitions,
    "licenses.md": corpus_licenses,
}


def stored_page(name):
    """The text that a page in `STORED` must have."""
    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    introduction, written, rest = text.partition(WRITTEN)
    if not written:
        raise ValueError(f"{name}: has no line {WRITTEN.strip()}")
    _, end, conclusion = rest.partition(WRITTEN_END)
    written += f"\n{STORED[name]().strip()}\n"
    if end:
        end = f"\n{end}"
    return f"{introduction}{written}{end}{conclusion}"


def write_all():
    from ser_hf.cli.options import as_json
    from ser_hf.experiment.schema import recipe_schema

    folder = Path(__file__).parent
    for page in STORED:
        (folder / page).write_text(stored_page(page), encoding="utf-8")
    schema = folder.parent / "recipes" / "recipe.schema.json"
    schema.write_text(f"{as_json(recipe_schema())}\n", encoding="utf-8")


if __name__ == "__main__":
    write_all()
