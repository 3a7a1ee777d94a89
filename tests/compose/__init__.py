"""The compose stack, for real: ``python -m tests.compose``, by hand or through ``make compose-test``; needs Docker."""
