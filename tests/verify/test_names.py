"""Names of any bytes: what was edited is checked against the files that have them."""

import json
import os
import sys
from pathlib import Path

import pytest

from tests.batch.trees import move, simulate
from tests.commands import run


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("command", ["trim -s 2", "concat", "denoise -c denoise_patch"])
@pytest.mark.fault(56, "bytes of another encoding in names of edited files", "checked, exit 0")
def test_edited_files_with_names_of_any_bytes_are_checked(tmp_path: Path, command: str) -> None:
    [video] = simulate(tmp_path / "made", 30, receivers=1)
    odd = move(video, Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xfe/r\xff.avi")))
    out = tmp_path / "out"
    name, *options = command.split()
    run(name, str(odd), *options, "-o", str(out))
    run("verify", str(out))
    run("crate", str(out))
    run("verify", str(out))
    crate = json.loads((out / "ro-crate-metadata.json").read_bytes())
    assert any(each["@id"].startswith("r%FF") for each in crate["@graph"])
    assert any(each.get("name", "").startswith("r\\xff") for each in crate["@graph"])
