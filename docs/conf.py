"""Sphinx configuration; warnings are errors (make docs)."""

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "_ext"))

project = "miostitch"
author = copyright = "The miostitch developers"  # noqa: A001
version = release = installed_version("miostitch").split("+")[0]

extensions = [
    "check_links",
    "command_examples",
    "fault_table",
    "gallery",
    "myst_parser",
    "room_picture",
    "run_blocks",
    "schema_tables",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_ext", "**/*.inc.md"]

html_theme = "furo"
html_title = f"miostitch {version}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
if repository := os.environ.get("GITHUB_REPOSITORY"):  # built for the site
    html_theme_options = {
        "source_repository": f"{os.environ['GITHUB_SERVER_URL']}/{repository}",
        "source_branch": "main",
        "source_directory": "docs/",
    }

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3  # links to headings are checked like all others

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_selector = "div:not(.output) > div.highlight pre"

linkcheck_anchors = False  # pages of others build theirs in the browser
linkcheck_timeout = 20

# Other projects' names are not ours to check; the build needs no network.
nitpick_ignore_regex = [("py:.*", r"(?!miostitch\b).*")]
