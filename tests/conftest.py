"""What all tests share: how hard hypothesis tries.

HYPOTHESIS_PROFILE=laws is what `make test` holds the laws by, and thorough tries far more than CI has time for.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci",
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("laws", settings.get_profile("ci"), max_examples=300)
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=3000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
