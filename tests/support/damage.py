"""Ways to damage a file."""


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """Bits of the middle quarter: a single one may lie where no reader of a zip file looks."""
    content = path.read_bytes()
    begin, end = 3 * len(content) // 8, 5 * len(content) // 8
    path.write_bytes(content[:begin] + bytes(byte ^ 1 for byte in content[begin:end]) + content[end:])


def empty(path):
    path.write_bytes(b"")


def fill(path):
    path.write_bytes(b"garbage " * 20)
