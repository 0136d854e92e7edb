"""Route maps: on disk, being built, being searched."""
