"""Metrics and reports of place recognition."""
