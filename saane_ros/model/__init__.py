"""The networks: one file per block of the paper."""
