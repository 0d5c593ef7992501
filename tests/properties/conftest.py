"""Hypothesis tries the same examples in every run, and as many as take a few seconds per property."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "same_examples",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=80,
    # How long the machine takes says nothing about a property. How many examples fit its assumptions depends on which
    # modules happen to be imported, because Hypothesis also tries their constants.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("same_examples")
