"""The command line in the process of the test."""

from ser_hf import cli


def complaint(capsys, *arguments):
    """The one line that a refused command prints."""
    assert cli.main([*map(str, arguments)]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line
