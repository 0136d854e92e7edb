"""What comes from outside: read in the rooms below, checked for plausibility, selected."""
