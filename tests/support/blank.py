"""Files in place of recordings, where nothing is decoded."""


def write_blank(root, *names, content=b"not decoded here"):
    """Writes files of these names below a folder, and returns the folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root
