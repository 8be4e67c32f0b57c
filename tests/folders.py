"""What stands in a folder."""

from pathlib import Path


def content(folder: Path) -> dict[str, bytes]:
    """The bytes of every file, by its path below the folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
