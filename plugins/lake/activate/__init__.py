"""Letting a scorecard judge: what would change is worked out, a person says yes or no, and only a yes is published."""
