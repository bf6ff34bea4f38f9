"""The error for mistakes of the user."""


class UserError(ValueError):
    """A mistake in a recipe, a corpus or a folder. One line names the file or key and the remedy (exit code 2)."""
