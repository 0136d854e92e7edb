"""Pictures in folders: in which order, at which place, with which labels."""
