"""Objects from the nodes of a stored config, as Hydra would make them, without Hydra."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from ddpm_lightning.runs.places import check_places
from ddpm_lightning.runs.trust import Trust, check_targets, located


def instantiate(node: Mapping[str, Any], trust: tuple[str, ...] = (), **options: Any) -> Any:
    """The object that a node with `_target_` describes, and in it those that its options describe.

    Args:
        node: plain values.
        trust: packages, besides this one, whose classes a stored config may name.
        options: passed on as they are.

    Raises:
        ValueError: the node names something that is not allowed (`runs.trust`) or does not exist, or a path that leads
            out of the working directory.
    """
    check_targets(node, "the config", Trust(trust))
    check_places(node, "the config")
    return _made(node, Trust(trust), **options)


def _made(node: Mapping[str, Any], trust: Trust, **options: Any) -> Any:
    target = located(str(node["_target_"]), trust)
    own = {
        key: _made(value, trust) if isinstance(value, Mapping) and "_target_" in value else value
        for key, value in node.items()
        if not key.startswith("_")
    }
    return partial(target, **own, **options) if node.get("_partial_") else target(**own, **options)
