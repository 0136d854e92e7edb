"""Poses as files say them, and poses over time."""
