"""The console script `ser-hf`: its verbs, exit codes and messages."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from ..utils.environment import PACKAGE, TerminalHandler, __version__, freed_memory_kept
from ..utils.errors import UserError, machine_fault, one_line
from ..utils.processes import another_process_ended
from . import (
    compare,
    convert,
    corpora,
    demo,
    doctor,
    evaluate,
    export,
    predict,
    publish,
    sweep,
    train,
)

VERBS = {
    "Data": (corpora.download, corpora.table, corpora.inspect, convert.convert),
    "Training": (train.train, doctor.doctor, sweep.sweep, train.recipes, train.schema),
    "Evaluation": (evaluate.evaluate, compare.compare, compare.rank, compare.reproduce),
    "Use": (predict.predict, demo.demo, export.export),
    "The Hub": (publish.publish, publish.verify),
}


class Verbs(typer.core.TyperGroup):
    """Lists the verbs below the headings of their groups."""

    def format_commands(self, context: typer.Context, formatter: Any) -> None:
        for heading, functions in VERBS.items():
            with formatter.section(heading):
                rows = []
                for function in functions:
                    verb = self.commands[function.__name__]
                    rows.append((f"{verb.name:<9}", verb.get_short_help_str(formatter.width)))
                formatter.write_dl(rows)


# 128 and the number of SIGPIPE, which Windows does not have.
_BROKEN_PIPE = 141

# Messages are plain text, not panels of rich: an error is one line, and help can be searched.
app = typer.Typer(
    cls=Verbs, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
)
# Verbs that read their words in their own way.
_COMMANDS = {publish.publish: publish.PublishCommand}
for _functions in VERBS.values():
    for _function in _functions:
        app.command(cls=_COMMANDS.get(_function))(_function)


@app.callback(invoke_without_command=True)
def ser_hf(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version and exit.")
    ] = False,
) -> None:
    """Fine-tune, evaluate and publish speech emotion recognizers.

    Try it: ser-hf train quickstart.
    """
    if version:
        print(f"ser-hf {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    The code is 0, 1 for a negative result, 2 for a mistake of the user.
    """
    if "_SER_HF_COMPLETE" in os.environ:
        app(prog_name="ser-hf")  # the shell requests completions
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    _open_closed_streams()
    _escape_unknown_characters()
    _log_to_terminal()

    remedy = "run the same command again"
    if arguments[:1] in (["train"], ["reproduce"]):
        remedy = "--resume continues from the last checkpoint"
    try:
        with _without_input():
            _invoke(arguments)
    except typer.Exit as ended:
        return ended.exit_code
    except typer.TyperException as error:
        return _mistake(_usage_message(error))
    except UserError as error:
        _mistake(str(error), error.whole)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"interrupted; {remedy}", file=sys.stderr)
        return 130
    except Exception as error:
        if another_process_ended(error):
            return 1
        if isinstance(error, OSError) and error.filename is None and not _output_works():
            return _output_fault(error)
        fault = machine_fault(error)
        if fault is None:
            raise
        return _mistake(f"{fault}; {remedy}")
    return 0


def _open_closed_streams() -> None:
    """Open closed standard streams, so that no file of the run gets the number of such a stream."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115


def _escape_unknown_characters() -> None:
    """Print an escape for a character that the terminal's encoding does not have.

    The encoding of a Windows terminal is often that of its region, and the name of a recording in
    another script would end the command.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _without_input() -> Iterator[None]:
    """Replace standard input by an empty stream: no verb reads it.

    Libraries would ask questions there, such as whether to run the code of an unknown model, and
    take the answer from `yes |` or from a script's input.
    """
    given = sys.stdin
    with open(os.devnull, encoding="utf-8") as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = given


def _log_to_terminal() -> None:
    """Log to standard error; of several processes only the first one logs."""
    if os.environ.get("RANK", "0") == "0" and not PACKAGE.handlers:
        PACKAGE.setLevel(logging.INFO)
        PACKAGE.addHandler(TerminalHandler())


def _invoke(arguments: list[str]) -> None:
    group = typer.main.get_command(app)
    # group.main() is not used: it hides all broken pipes, not only that of the output.
    with freed_memory_kept(), group.make_context("ser-hf", arguments) as context:
        group.invoke(context)
    sys.stdout.flush()


def _usage_message(error: typer.TyperException) -> str:
    """Return a message about arguments, with the command whose help describes them."""
    context = getattr(error, "ctx", None)
    command = "ser-hf" if context is None else context.command_path
    message = " ".join(error.format_message().split())
    # The words of pydantic, which checks the choices of an option.
    message = message.replace(": Value error, ", ": ")
    return f"{message} (see {command} --help)"


def _output_fault(error: OSError) -> int:
    """Handle an output that cannot be written, and return the exit code."""
    if isinstance(error, BrokenPipeError):  # as in `ser-hf predict ... | head`
        return _BROKEN_PIPE
    return _mistake(f"the output cannot be written: {error.strerror}")


def _mistake(message: str, whole: str | None = None) -> int:
    """Print the message of a mistake in one line, and return the exit code.

    Args:
        whole: the whole message if the line lacks a part of it; the line then names its file.
    """
    line = one_line(message)
    file = None if whole is None else _save_message(whole)
    if file is not None:
        line = f"{line} (the whole message: {file})"
    # One call writes the line, because other processes may write at the same time.
    sys.stderr.write(f"error: {line}\n")
    return 2


def _save_message(message: str) -> Path | None:
    """Write a message to the cache; None if that is not possible. Equal messages have one file."""
    # The cache needs numpy, which takes longer to load than a help text may take.
    from ..utils.cache import cache_root, key_of
    from ..utils.files import replace_text

    try:
        file = cache_root() / "messages" / f"{key_of(message)[:12]}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(file, f"{message}\n")
    except (OSError, UserError):  # a full disk must not hide the mistake itself
        return None
    return file


def _output_works() -> bool:
    """Whether the output can be written; it cannot on a full disk or after `| head` has ended.

    If the output cannot be written, the rest of it is discarded.
    """
    try:
        sys.stdout.flush()
        print(flush=True)  # with nothing buffered, there is nothing to flush
    except OSError:
        # the interpreter flushes the output when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
