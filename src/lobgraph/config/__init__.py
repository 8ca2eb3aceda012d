"""Settings: one frozen, validated tree from a YAML file (only what differs from the defaults) and `key=value` overrides.

An unknown key, a wrong type or an impossible value raises `ConfigError`, one line per key, before anything runs.
"""

from .checks import check_minibatches
from .files import dump_config, flatten, load_config, make_config, make_section, read_yaml
from .flow import KINDS, FlowConfig, HawkesConfig, IntradayConfig, MetaorderConfig, ReactiveConfig, SizeConfig
from .sections import GraphConfig, PPOConfig
from .tree import Config
from .types import (
    LEARN,
    NOTHING,
    ROLES,
    ConfigError,
    Float,
    Int,
    NonNegative,
    PerBook,
    Positive,
    Schedule,
    Section,
)

__all__ = [
    "KINDS",
    "LEARN",
    "NOTHING",
    "ROLES",
    "Config",
    "ConfigError",
    "Float",
    "FlowConfig",
    "GraphConfig",
    "HawkesConfig",
    "Int",
    "IntradayConfig",
    "MetaorderConfig",
    "NonNegative",
    "PPOConfig",
    "PerBook",
    "Positive",
    "ReactiveConfig",
    "Schedule",
    "Section",
    "SizeConfig",
    "check_minibatches",
    "dump_config",
    "flatten",
    "load_config",
    "make_config",
    "make_section",
    "read_yaml",
]
