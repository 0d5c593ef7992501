"""Hypothesis tries the same examples in every run, and as many as take a few seconds per property."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "same_examples",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow],  # how long the machine takes says nothing about a property
)
settings.load_profile("same_examples")
