"""Measurements: never asserted by a test, always printed with what they were measured on."""
