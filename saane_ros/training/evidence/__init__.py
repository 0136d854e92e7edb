"""Fitting what distances mean and from when on a place is believed, on drives on and off maps."""
