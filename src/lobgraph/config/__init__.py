"""Settings: one frozen, validated tree from a YAML file (only what differs from the defaults) and `key=value` overrides.

An unknown key, a wrong type or an impossible value raises `ConfigError`, one line per key, before anything runs.
"""

from .checks import check_minibatches
from .files import dump_config, load_config, make_config, make_section, read_yaml
from .sections import (
    LEARN,
    NOTHING,
    ROLES,
    ConfigError,
    Float,
    GraphConfig,
    Int,
    NonNegative,
    Positive,
    PPOConfig,
    Schedule,
    Section,
    SizeConfig,
)
from .tree import Config

__all__ = [
    "LEARN",
    "NOTHING",
    "ROLES",
    "Config",
    "ConfigError",
    "Float",
    "GraphConfig",
    "Int",
    "NonNegative",
    "PPOConfig",
    "Positive",
    "Schedule",
    "Section",
    "SizeConfig",
    "check_minibatches",
    "dump_config",
    "load_config",
    "make_config",
    "make_section",
    "read_yaml",
]
