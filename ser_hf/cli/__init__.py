"""The console script `ser-hf`: its verbs, exit codes and messages."""

import logging
import os
import select
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from ..utils.environment import __version__, freed_memory_kept
from ..utils.errors import UserError
from ..utils.logs import PACKAGE, TerminalHandler
from .options import VerbCommand

_ARRIVED = "; uploaded files stay on the Hub, the same command uploads the rest"
_RESUME = "; --resume continues from the last checkpoint"
_ON_INTERRUPTION = {
    "download": "; the same command continues where it stopped",
    "publish": _ARRIVED,
    "publish-corpus": _ARRIVED,
    "reproduce": _RESUME,
    "sweep": "; the same command continues the trial that was running",
    "train": _RESUME,
}
# Options of earlier versions, and what to use instead.
_REMOVED = {
    ("predict", "--microphone"): "`ser-hf demo MODEL` uses the microphone in a browser",
    ("predict", "--seconds"): "`ser-hf demo MODEL` uses the microphone in a browser",
    ("sweep", "--take-over"): "--storage lets several processes share a sweep",
    ("compare", "--repo"): "upload the folder of --output with `hf upload`",
    ("compare", "--private"): "upload the folder of --output with `hf upload --private`",
}

# Plain text in place of rich's panels: an error is one line, and help can be searched.
app = typer.Typer(rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})
for verb in (
    *("cache", "compare", "demo", "download", "evaluate", "export", "inspect", "predict"),
    *("publish", "publish_corpus", "reproduce", "schema", "sweep", "train", "verify"),
):
    app.command(cls=VerbCommand)(getattr(import_module(f".{verb}", __name__), verb))


@app.callback(invoke_without_command=True)
def ser_hf(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Fine-tune, evaluate and publish speech emotion recognizers."""
    if version:
        print(f"ser-hf {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code: 0, 1 for a negative result, 2 for a mistake of the user."""
    if "_SER_HF_COMPLETE" in os.environ:
        app(prog_name="ser-hf")  # the shell asks for completions
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if os.environ.get("RANK", "0") == "0" and not PACKAGE.handlers:
        PACKAGE.setLevel(logging.INFO)
        PACKAGE.addHandler(TerminalHandler())
    group = typer.main.get_command(app)
    try:
        # Not group.main(), which hides a broken pipe that is not the output's.
        with freed_memory_kept(), group.make_context("ser-hf", list(arguments)) as context:
            group.invoke(context)
        sys.stdout.flush()
    except typer.Exit as ended:
        return ended.exit_code
    except typer.TyperException as error:
        return _mistake(_usage(error, arguments))
    except UserError as error:
        return _mistake(str(error))
    except KeyboardInterrupt:
        print(f"interrupted{_ON_INTERRUPTION.get(arguments[0], '')}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if not _output_closed():
            raise
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is not None or _output_works():
            raise
        return _mistake(f"the output cannot be written: {error.strerror}")
    return 0


def _mistake(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")  # in one call, as other processes may write too
    return 2


def _usage(error: typer.TyperException, arguments: Sequence[str]) -> str:
    """The message of an option or argument that does not parse."""
    option = getattr(error, "option_name", None)
    if instead := _REMOVED.get((arguments[0], option)):
        return f"{option}: removed; {instead}"
    context = getattr(error, "ctx", None)
    command = "ser-hf" if context is None else context.command_path
    return f"{' '.join(error.format_message().split())} (see {command} --help)"


def _output_closed() -> bool:
    """Whether the reader of the output is gone, as after `| head`; the rest of the output is then discarded."""
    polled = select.poll()
    polled.register(sys.stdout.fileno(), select.POLLOUT)
    if not any(event & select.POLLERR for _, event in polled.poll(0)):
        return False
    _discard_output()
    return True


def _output_works() -> bool:
    """Whether the output can be written, unlike on a full disk; the rest of it is discarded where it cannot."""
    try:
        sys.stdout.flush()
        print(flush=True)  # where nothing is buffered, nothing is left to flush
    except OSError:
        _discard_output()
        return False
    return True


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes at its end
