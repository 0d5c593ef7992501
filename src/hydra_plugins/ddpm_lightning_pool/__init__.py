"""Hydra finds launchers in the namespace `hydra_plugins` alone."""
