"""The error for mistakes of the user."""

LONGEST = 300  # characters of a message


class UserError(ValueError):
    """A mistake in a recipe, a corpus or a folder. One line names the file or key and the remedy (exit code 2).

    The message is in printable characters, at most `LONGEST` of them, whatever names and values are in it.
    """

    def __init__(self, message: object):
        text = printable(str(message))
        half = (LONGEST - 5) // 2
        super().__init__(text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}")


def printable(text: str) -> str:
    """Text in one line, with spaces for control, direction and other invisible characters, and for surrogates."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
