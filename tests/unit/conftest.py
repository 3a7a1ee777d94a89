"""Settings of all property tests here."""

from hypothesis import settings

settings.register_profile("countersign", deadline=None)  # a busy machine is slow; that is no defect
settings.load_profile("countersign")
