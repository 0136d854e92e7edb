"""From a descriptor to a place match."""
