"""Whole drives against a map: where the localizer is right, and whether it knows when it is not."""
