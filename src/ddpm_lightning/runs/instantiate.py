"""Objects from the nodes of a stored config, as Hydra would make them, without Hydra."""

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

OWN_PACKAGE = "ddpm_lightning"


def instantiate(node: Mapping[str, Any], trust: tuple[str, ...] = (), **options: Any) -> Any:
    """The object that a node with `_target_` describes, and in it those that its options describe.

    Args:
        node: plain values.
        trust: packages, besides this one, whose classes a stored config may name.
        options: passed on as they are.

    Raises:
        ValueError: the node names something of another package, or something that does not exist.
    """
    target = _located(str(node["_target_"]), (OWN_PACKAGE, *trust))
    own = {
        key: instantiate(value, trust) if isinstance(value, Mapping) and "_target_" in value else value
        for key, value in node.items()
        if not key.startswith("_")
    }
    return partial(target, **own, **options) if node.get("_partial_") else target(**own, **options)


def _located(name: str, packages: tuple[str, ...]) -> Any:
    if name.partition(".")[0] not in packages:
        raise ValueError(
            f"the config names {name}, which is not of {' or '.join(packages)}: if the file is yours, "
            f"load it with trust=[{name.partition('.')[0]!r}]"
        )
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"the config names {name}, which does not exist here ({error})") from error
