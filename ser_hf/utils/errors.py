"""The error for mistakes of the user."""


class UserError(ValueError):
    """A mistake in a recipe, a corpus or a folder. One line names the file or key and the remedy (exit code 2).

    Whatever names and values are in it, the message has at most 300 printable characters.
    """

    def __init__(self, message: object):
        text = printable(str(message))
        super().__init__(text if len(text) <= 300 else f"{text[:147]} ... {text[-148:]}")


def printable(text: str) -> str:
    """Text in one line, with spaces for control, direction and other invisible characters, and for surrogates."""
    return "".join(char if char.isprintable() else " " for char in text)
