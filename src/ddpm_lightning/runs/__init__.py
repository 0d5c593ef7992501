"""A run's life: its config, its folder, its processes, what it is built from and restored to."""
