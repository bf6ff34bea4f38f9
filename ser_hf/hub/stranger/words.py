"""What was raised, in words that fit into a line."""

import re


def told(error):
    """Kind and first line of what was raised; None for None."""
    if error is None:
        return None
    said = str(error)
    if "See the original errors" in said:  # a traceback for each class that was tried, the first the one for the task
        first = said.partition("an error is thrown:")[2].partition("\nwhile loading with")[0]
        raised = re.findall(r"^(?:[\w.]*\.)?(\w*(?:Error|Exception)): (.*)", first, re.MULTILINE)
        if raised:
            return shortened(": ".join(raised[-1]))
    return shortened(f"{type(error).__name__}: {first_line(error)}")


def first_line(error):
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return shortened(lines[0]) if lines else type(error).__name__


def shortened(text):
    return text.rstrip(".") if len(text) <= 300 else text[:297] + "..."
