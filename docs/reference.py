"""A hook of mkdocs.yml: the parts of the reference that follow from the code.

A line `<!-- from the code: NAME -->` of a page becomes what the function NAME below returns. The
tables of recipe-keys.md get two columns, and links out of docs/ lead to the repository.
"""

import dataclasses
import inspect
import math
import re
import types
import typing

MARKER = re.compile(r"^<!-- from the code: (\w+) -->$", re.MULTILINE)
SECTION = re.compile(r"^#{2,3} (?:`([\w.]+)`|The recipe itself)$")
ROW = re.compile(r"^\| `(\w+)` \| (.+) \|$")


def on_page_markdown(markdown, page, config, files):
    if page.file.src_uri == "recipe-keys.md":
        markdown = with_types_and_defaults(markdown)
    markdown = MARKER.sub(lambda found: PARTS[found[1]](), markdown)
    repository = f"{config.repo_url}/blob/main/"
    up = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\]\({re.escape(up)}(?!\.)", f"]({repository}", markdown)


def recipe_fields():
    """{section: {key: (type and range, default)}} of recipes; the section of keys at the top is
    empty.
    """
    from ser_hf.experiment.recipe import Recipe

    sections = {}

    def add_settings(kind, section):
        sections[section] = {}
        for name, field in kind.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                add_settings(field.annotation, f"{section}.{name}")
            else:
                kind_words = words(field.annotation)
                sections[section][name] = (kind_words, f"`{as_yaml(field.default)}`")

    def add(kind, section):
        hints = typing.get_type_hints(kind, include_extras=True)
        sections[section] = {}
        for field in dataclasses.fields(kind):
            hint = hints[field.name]
            inner = f"{section}.{field.name}".strip(".")
            if hasattr(hint, "model_fields"):
                add_settings(hint, inner)
            elif dataclasses.is_dataclass(hint):
                add(hint, inner)
            elif field.name not in ("options", "arguments", "provenance"):
                # further keys of a section; a record
                sections[section][field.name] = (words(hint), default_of(field))

    add(Recipe, "")
    # What the reader of recipes adds.
    sections[""] |= {
        "name": (words(str), "name of the file"),
        "output_dir": (words(str), "`runs/NAME`"),
    }
    return {section: keys for section, keys in sections.items() if keys}


def documented_keys(markdown):
    """{section: keys} of the tables of recipe-keys.md."""
    found = {}
    section = None
    for line in markdown.splitlines():
        if heading := SECTION.match(line):
            section = heading[1] or ""
        elif row := ROW.match(line):
            found.setdefault(section, set()).add(row[1])
    return found


def with_types_and_defaults(markdown):
    fields = recipe_fields()
    section = None
    lines = []
    if documented_keys(markdown) != {section: set(keys) for section, keys in fields.items()}:
        raise ValueError("recipe-keys.md: its keys are not those of the recipe")
    for line in markdown.splitlines():
        if heading := SECTION.match(line):
            section = heading[1] or ""
        elif row := ROW.match(line):
            kind, default = fields[section][row[1]]
            line = f"| `{row[1]}` | {kind} | {default} | {row[2]} |"
        elif line == "| key | meaning |":
            line = "| key | type and range | default | meaning |"
        elif line == "|---|---|":
            line = "|---|---|---|---|"
        lines.append(line)
    return "\n".join(lines)


def words(kind):
    """An annotation in words: its type and, if it has one, its range."""
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin is typing.Annotated:
        bound = arguments[1]
        if hasattr(bound, "above"):  # ser_hf.utils.yaml.Range
            return words(arguments[0]) + range_words(bound)
        return bound if isinstance(bound, str) else words(arguments[0])
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


def range_words(bound):
    ends = {
        "at least": bound.min,
        "more than": bound.above,
        "at most": bound.max,
        "less than": bound.below,
    }
    unit = f" of {bound.unit}" if bound.unit else ""
    return f"{unit}, " + " and ".join(
        f"{word} {end:,.12g}" for word, end in ends.items() if math.isfinite(end)
    )


def default_of(field):
    if field.default_factory is not dataclasses.MISSING:
        return f"`{as_yaml(field.default_factory())}`"
    return "required" if field.default is dataclasses.MISSING else f"`{as_yaml(field.default)}`"


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
            for parent in kind.__mro__[1:]
            if parent in named
        ]
        parts.append(f"## {kind.__name__}\n")
        used = f"The keys of {', '.join(architectures)}. " if architectures else ""
        parts.append(used + (f"All keys of {based[0]} too.\n" if based else "") + "\n")
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
            kinds += [own for own in models_in(field.annotation) if own not in kinds]
        parts.append("\n")
    return "".join(parts)


def models_in(kind):
    if hasattr(kind, "model_fields"):
        return [kind]
    return [own for argument in typing.get_args(kind) for own in models_in(argument)]


def metric_definitions():
    from ser_hf.evaluation.metrics import METRICS

    rows = [
        f"| `{key}` | {metric.name} | {metric.definition} |\n" for key, metric in METRICS.items()
    ]
    return "| key | name | definition |\n|---|---|---|\n" + "".join(rows)


PARTS = {
    own.__name__: own
    for own in (network_keys, command_line, python_api, report_keys, metric_definitions)
}
