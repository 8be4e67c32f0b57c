"""``{run} console`` and ``{run} python``: blocks that the build runs, so that a page stays true.

All blocks of a page run in order in one temporary folder, and the Python ones share their names.
What a command prints stands below it; so does the value of a block's last expression. ``:picture:``
names a PNG file that the block made, to be shown with the text ``:alt:``. Only commands of
miostitch can be run, and only their standard output is shown: progress varies. A step that fails
ends the build.
"""

import ast
import re
import shlex
from base64 import b64encode
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from click.testing import CliRunner

from miostitch.cli.console import MESSAGE, break_line
from miostitch.cli.main import main

WIDTH = 80
"""Of the terminal that a page shows."""


class StepError(Exception):
    """A step of a page failed."""


class Steps:
    """What the blocks of a page share: a folder, and the names that Python knows."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._names: dict[str, Any] = {"__name__": "__main__"}

    def console(self, text: str) -> str:
        """Run ``$ miostitch ...`` commands; what a terminal would show."""
        return "\n".join(map(self._run, re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]))

    def _run(self, command: str) -> str:
        program, *args = shlex.split(command.replace("\\\n", " "))
        if program != "miostitch":
            raise StepError(f"$ {command}\nonly commands of miostitch can be run")
        with chdir(self._folder):
            done = CliRunner().invoke(main, args)
        if done.exit_code:
            raise StepError(f"$ {command}\nexit code {done.exit_code}: {done.output}")
        lines = [
            break_line(x, WIDTH, "    ") if MESSAGE.match(x) else x
            for x in done.stdout.splitlines()
        ]
        return "\n".join([f"$ {command.rstrip()}", *lines]).rstrip()

    def python(self, code: str) -> str:
        """Run statements; what they print, and the value of the last if it is an expression."""
        *statements, last = ast.parse(code).body
        shown = StringIO()
        try:
            with chdir(self._folder), redirect_stdout(shown):
                exec(compile(ast.Module(statements, []), "<page>", "exec"), self._names)
                # as at the prompt of Python: the value of an expression is printed
                exec(compile(ast.Interactive([last]), "<page>", "single"), self._names)
        except Exception as error:
            raise StepError(f"{code}\n{type(error).__name__}: {error}") from error
        return shown.getvalue().rstrip()

    def picture(self, name: str) -> str:
        """A picture that a block made, as an address that holds it."""
        path = Path(self._folder, name)
        if not path.is_file():
            raise StepError(f"made no picture {name}")
        return f"data:image/png;base64,{b64encode(path.read_bytes()).decode()}"


def setup(app: Any) -> dict[str, bool]:
    from docutils import nodes  # noqa: PLC0415
    from docutils.parsers.rst import directives  # noqa: PLC0415
    from sphinx.errors import SphinxError  # noqa: PLC0415
    from sphinx.util.docutils import SphinxDirective  # noqa: PLC0415

    folders = TemporaryDirectory()
    app.connect("build-finished", lambda *_: folders.cleanup())

    class Run(SphinxDirective):
        required_arguments = 1
        has_content = True
        option_spec = {"picture": directives.unchanged, "alt": directives.unchanged}  # noqa: RUF012

        def run(self) -> list[Any]:
            page = self.env.temp_data
            steps = page["steps"] = page.get("steps") or Steps(mkdtemp(dir=folders.name))
            text = "\n".join(self.content)
            try:
                return [*self.blocks(steps, text), *self.pictures(steps)]
            except StepError as error:
                source, line = self.get_source_info()
                raise SphinxError(f"{source}:{line}: a step failed:\n{error}") from error

        def blocks(self, steps: Steps, text: str) -> list[Any]:
            if self.arguments == ["console"]:
                shown = steps.console(text)
                return [nodes.literal_block(shown, shown, language="console")]
            code = nodes.literal_block(text, text, language="python")
            if not (shown := steps.python(text)):
                return [code]
            return [code, nodes.literal_block(shown, shown, language="text", classes=["output"])]

        def pictures(self, steps: Steps) -> list[Any]:
            name = self.options.get("picture")
            return [nodes.image(uri=steps.picture(name), alt=self.options["alt"])] if name else []

    app.add_directive("run", Run)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
