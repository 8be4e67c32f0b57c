"""Pages whose blocks are run in the build: order, what is shown, and steps that fail."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def run_blocks() -> ModuleType:
    path = Path(__file__).parents[1] / "docs" / "_ext" / "run_blocks.py"
    spec = importlib.util.spec_from_file_location("run_blocks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def steps(run_blocks: ModuleType, tmp_path: Path) -> Any:
    return run_blocks.Steps(str(tmp_path))


def test_blocks_share_folder_and_names(steps: Any) -> None:
    made = "$ miostitch simulate session --frames 12 \\\n    --height 20 --width 50"
    shown = steps.console(f"{made}\n$ miostitch inspect session/receiver1.avi")
    assert shown.startswith(f"{made}\nsession/receiver1.avi\n")
    assert "\n$ miostitch inspect session/receiver1.avi\n" in shown
    opened = "import miostitch\nvideo = miostitch.open_recording('session/truth.avi').video"
    assert steps.python(opened) == ""
    assert steps.python("print('size')\nvideo.shape") == "size\n(12, 20, 50)"


def test_a_step_that_fails_says_which_and_why(run_blocks: ModuleType, steps: Any) -> None:
    for run, step, why in (
        (steps.console, "$ miostitch inspect nowhere.avi", "exit code 3: .*no such video"),
        (steps.console, "$ rm session", "only commands of miostitch"),
        (steps.python, "nothing", "NameError: name 'nothing'"),
    ):
        with pytest.raises(run_blocks.StepError, match=f"(?s){why}") as failed:
            run(step)
        assert str(failed.value).startswith(step)
    with pytest.raises(run_blocks.StepError, match=r"made no picture a\.png"):
        steps.picture("a.png")


def test_pictures_are_part_of_the_page(steps: Any) -> None:
    steps.python("from pathlib import Path\nwritten = Path('a.png').write_bytes(b'picture')")
    assert steps.picture("a.png") == "data:image/png;base64,cGljdHVyZQ=="
