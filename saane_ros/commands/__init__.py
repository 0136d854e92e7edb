"""The sub-commands of `saane`, one file each."""
