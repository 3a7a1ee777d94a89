"""Settings of all property tests here."""

import os

from hypothesis import settings

# A busy machine is slow; that is no defect. The same examples every time, so that a run says something about the change
# it tests; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("countersign", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "countersign"))
