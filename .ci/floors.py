"""Print the oldest versions that pyproject.toml allows, as pip constraints."""

import re
import tomllib
from pathlib import Path

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
FLOOR = re.compile(r"([\w.-]+)(?:\[.*\])?>=([\w.]+)")

for requirement in PYPROJECT["project"]["dependencies"] + PYPROJECT["dependency-groups"]["test"]:
    floor = FLOOR.fullmatch(requirement)
    if floor is None:
        raise SystemExit(f"pyproject.toml: {requirement} states no floor; write NAME>=VERSION")
    print(f"{floor[1]}=={floor[2]}")
