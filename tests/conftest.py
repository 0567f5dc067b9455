"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is no failure: pytest-timeout ends tests that hang.
settings.register_profile("itemrec", deadline=None)
settings.load_profile("itemrec")
