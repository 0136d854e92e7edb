"""Losses, sampling and trainers that reuse the model module."""
