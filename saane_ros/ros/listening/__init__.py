"""Hears what a localizer publishes, and keeps it."""
