"""What makes two configs the same experiment."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

NOT_PART_OF_AN_EXPERIMENT = ("name", "resume", "paths", "hydra", "optimize")
"""Options that say where a run lives and who asks for it, and not what it computes."""


def config_hash(config: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of a config's content, whatever the order of its keys and wherever the run lives."""
    content = {key: value for key, value in config.items() if key not in NOT_PART_OF_AN_EXPERIMENT}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:8]
