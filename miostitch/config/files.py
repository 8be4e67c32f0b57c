"""Configurations as YAML files: read, shipped with the package, and written with comments."""

import os
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from textwrap import wrap
from typing import Any

from miostitch.config.models import (
    AnyBlock,
    Block,
    DenoiseConfig,
    FrequencyMaskingConfig,
    checked,
    did_you_mean,
    kind,
    settings,
)
from miostitch.config.strict_yaml import MAX_BYTES, Document, read_yaml, scalar_text
from miostitch.errors import ConfigError, UsageError

COMMENT_WIDTH = 78
MAX_PROBLEMS = 10  # Problems of one file that are reported at once


def load_config(id_or_path: str | os.PathLike[str]) -> DenoiseConfig:
    """Read a configuration.

    Parameters
    ----------
    id_or_path
        A YAML file, or the id of a shipped configuration; a file of that name wins.

    Returns
    -------
    DenoiseConfig
        A file with the settings of the stripe filter alone becomes that stage alone.

    Raises
    ------
    ConfigError
        There is no such file or id, or the file is not what it should be.
    """
    name = os.fspath(id_or_path)
    if os.path.exists(name) and not os.path.isdir(name):
        with open(name, "rb") as file:
            return parse_config(file.read(MAX_BYTES + 1), name)
    shipped = shipped_configs()
    if name not in shipped:
        close = did_you_mean(name, [*shipped])
        msg = f"{name or repr(name)}: no such file, and no configuration of this id{close}"
        raise ConfigError(msg)
    return shipped[name]


def to_config(config: DenoiseConfig | str | os.PathLike[str]) -> DenoiseConfig:
    """A configuration that is given as it is, by its id or by its path."""
    if isinstance(config, DenoiseConfig):
        return config
    try:
        return load_config(config)
    except TypeError as error:  # which is no path
        what = "must be the id or path of a configuration, or a DenoiseConfig"
        raise UsageError(f"config {config!r}: {what}") from error


def parse_config(data: bytes, name: str) -> DenoiseConfig:
    """Parse and check the bytes of a YAML file."""
    document = read_yaml(data, name)
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: line 1: keys with values are needed, such as 'noise_patch:'")
    if not _is_stripe_filter(value):
        return _checked(DenoiseConfig, value, document)
    stage = _checked(FrequencyMaskingConfig, value, document)
    return DenoiseConfig(id=stage.id, description=stage.description, frequency_masking=stage)


@cache
def shipped_configs() -> Mapping[str, DenoiseConfig]:
    """Read the shipped configurations, by id."""
    folder = files("miostitch.config") / "shipped"
    found = sorted(file.name for file in folder.iterdir() if file.name.endswith(".yml"))
    configs = [parse_config((folder / name).read_bytes(), name) for name in found]
    return {str(config.id): config for config in configs}


def config_text(config: DenoiseConfig) -> str:
    """Write a configuration as YAML, with the meaning and range of every setting as comments."""
    lines = [f"# note: {notice}" for notice in config.notices]
    for key, value, default, allowed, doc in settings(config):
        indent = "  " * (len(key) - 1)
        is_block = isinstance(value, Block)
        if is_block and lines:
            lines.append("")
        about = doc if is_block else f"{doc} ({allowed}; default {scalar_text(default)})"
        lines += [f"{indent}# {line}" for line in wrap(about, COMMENT_WIDTH - len(indent))]
        lines.append(f"{indent}{key[-1]}:{'' if is_block else f' {scalar_text(value)}'}")
    return "\n".join(lines) + "\n"


def _is_stripe_filter(value: dict[str, Any]) -> bool:
    """Whether these are settings of the stripe filter alone, by name or by keys."""
    if value.get("mio_model") is not None:
        return kind(value["mio_model"]) == FrequencyMaskingConfig.__name__
    keys, whole = value.keys(), DenoiseConfig.model_fields.keys()
    return not keys.isdisjoint(FrequencyMaskingConfig.model_fields.keys() - whole) and (
        keys.isdisjoint(whole - FrequencyMaskingConfig.model_fields.keys())
    )


def _checked(model: type[AnyBlock], value: dict[str, Any], document: Document) -> AnyBlock:
    found = checked(model, value)
    if not isinstance(found, list):
        return found
    problems = sorted((document.line(key), what) for key, what in found)
    lines = [f"{document.name}: line {line}: {what}" for line, what in problems]
    if len(lines) > MAX_PROBLEMS:
        lines[MAX_PROBLEMS:] = [f"{document.name}: and {len(lines) - MAX_PROBLEMS} more"]
    raise ConfigError("\n".join(lines))
