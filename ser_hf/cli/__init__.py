"""The console script `ser-hf`: its verbs, exit codes and messages."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
import typer.core

from ..utils.environment import PACKAGE, TerminalHandler, __version__, freed_memory_kept
from ..utils.errors import UserError, machine_fault, one_line
from . import compare, corpora, demo, evaluate, export, predict, publish, sweep, train

VERBS = {
    "Data": (corpora.download, corpora.inspect),
    "Training": (train.train, sweep.sweep, train.recipes, train.schema),
    "Evaluation": (evaluate.evaluate, compare.compare, compare.reproduce),
    "Use": (predict.predict, demo.demo, export.export),
    "The Hub": (publish.publish, publish.verify),
}


class Verbs(typer.core.TyperGroup):
    """Lists the verbs below the headings of their groups."""

    def format_commands(self, context: typer.Context, formatter: Any) -> None:
        for heading, functions in VERBS.items():
            with formatter.section(heading):
                own = [self.commands[function.__name__] for function in functions]
                formatter.write_dl(
                    [(f"{verb.name:<9}", verb.get_short_help_str(formatter.width)) for verb in own]
                )


# Plain text instead of rich's panels: an error is one line, and help can be searched.
app = typer.Typer(
    cls=Verbs, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
)
for function in (function for functions in VERBS.values() for function in functions):
    app.command()(function)


@app.callback(invoke_without_command=True)
def ser_hf(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version and exit.")
    ] = False,
) -> None:
    """Fine-tune, evaluate and publish speech emotion recognizers. Try it: ser-hf train quickstart."""
    if version:
        print(f"ser-hf {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code: 0, 1 for a negative result, 2 for a mistake of
    the user.
    """
    if "_SER_HF_COMPLETE" in os.environ:
        app(prog_name="ser-hf")  # the shell requests completions
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # a closed one: its number would become that of a file of the run
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115
    if os.environ.get("RANK", "0") == "0" and not PACKAGE.handlers:
        PACKAGE.setLevel(logging.INFO)
        PACKAGE.addHandler(TerminalHandler())
    group = typer.main.get_command(app)
    resumable = arguments[:1] in (["train"], ["reproduce"])
    remedy = (
        "--resume continues from the last checkpoint" if resumable else "run the same command again"
    )
    try:
        # Not group.main(), which hides a broken pipe that is not the output's.
        with freed_memory_kept(), group.make_context("ser-hf", list(arguments)) as context:
            group.invoke(context)
        sys.stdout.flush()
    except typer.Exit as ended:
        return ended.exit_code
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = "ser-hf" if context is None else context.command_path
        return _mistake(f"{' '.join(error.format_message().split())} (see {command} --help)")
    except UserError as error:
        return _mistake(str(error))
    except KeyboardInterrupt:
        print(f"interrupted; {remedy}", file=sys.stderr)
        return 130
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and not _output_works():
            if isinstance(error, BrokenPipeError):  # as in `ser-hf predict ... | head`
                return 128 + signal.SIGPIPE
            return _mistake(f"the output cannot be written: {error.strerror}")
        fault = machine_fault(error)
        if fault is None:
            raise
        return _mistake(f"{fault}; {remedy}")
    return 0


def _mistake(message: str) -> int:
    # in one call, as other processes may write too
    sys.stderr.write(f"error: {one_line(message)}\n")
    return 2


def _output_works() -> bool:
    """Whether the output can be written, unlike on a full disk or after `| head`; if not, the rest
    is discarded.
    """
    try:
        sys.stdout.flush()
        print(flush=True)  # with nothing buffered, there is nothing to flush
    except OSError:
        # the interpreter flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
