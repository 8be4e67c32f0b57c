"""Change the code in small ways, and tell which changes no test notices.

``python .ci/mutants.py [--sample N] [--seed N] [MODULE ...]`` clones the last commit into a folder
for temporary files, lets cosmic-ray (in the environment ``.envs/mutants``) make a sample of the
changes that it knows to each module, one at a time, and runs the tests of that module. It prints
the share of changes that were noticed, and the others as lines to be looked at: some leave the
meaning as it is, each of the rest asks for a test.
"""

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
COSMIC_RAY = "cosmic-ray==8.7.0"
TESTS = {
    "stitching/selection": "stitching/test_selection",
    "composing/composition": "composing/test_composition",
    "session/alignment": "session/test_alignment",
    "buffers/repair": "buffers/test_repair",
    "execution/workspace": "execution/test_workspace",
}
CONFIG = """[cosmic-ray]
module-path = "miostitch/{module}.py"
timeout = 120.0
excluded-modules = []
test-command = "{python} -m pytest -q -x -p no:cacheprovider tests/{tests}.py"
[cosmic-ray.distributor]
name = "local"
"""
SURVIVED = (
    "select m.start_pos_row, w.diff from mutation_specs m join work_results w "
    "on m.job_id = w.job_id where w.test_outcome = 'SURVIVED' order by m.start_pos_row"
)


def program() -> Path:
    """The program that changes code, installed when it is first wanted."""
    folder = HERE / ".envs" / "mutants"
    if not (folder / "done").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(folder / "bin" / "pip"), "install", "-q"]
        subprocess.run([*pip, COSMIC_RAY], check=True)
        (folder / "done").touch()
    return folder / "bin" / "cosmic-ray"


def keep(session: Path, sample: int, seed: int) -> int:
    """Leave so many of the changes to be made."""
    with sqlite3.connect(session) as database:
        jobs = sorted(row[0] for row in database.execute("select job_id from work_items"))
        kept = {*random.Random(seed).sample(jobs, min(sample, len(jobs)))}
        for table in ("mutation_specs", "work_items"):
            gone = [(job,) for job in jobs if job not in kept]
            database.executemany(f"delete from {table} where job_id = ?", gone)
    return len(kept)


def main() -> None:
    """Change the modules that are named, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=[*TESTS], choices=[*TESTS])
    parser.add_argument("--sample", type=int, default=140)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    cosmic_ray = program()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "-q", str(HERE), str(clone)], check=True)
        for module in options.modules:
            name = module.replace("/", "-")
            config, session = Path(folder, f"{name}.toml"), Path(folder, f"{name}.sqlite")
            text = CONFIG.format(module=module, tests=TESTS[module], python=sys.executable)
            config.write_text(text)
            # the clone's package, not the installed one
            run = {"cwd": clone, "check": True, "env": {**os.environ, "PYTHONPATH": str(clone)}}
            subprocess.run([str(cosmic_ray), "init", str(config), str(session)], **run)
            made = keep(session, options.sample, options.seed)
            subprocess.run([str(cosmic_ray), "exec", str(config), str(session)], **run)
            with sqlite3.connect(session) as database:
                left = database.execute(SURVIVED).fetchall()
            print(f"{module}: {made - len(left)} of {made} changes noticed", flush=True)
            for row, diff in left:
                lines = [line[1:].strip() for line in diff.splitlines() if line.startswith("+")]
                print(f"  line {row}: {' '.join(lines[1:])}", flush=True)


if __name__ == "__main__":
    main()
