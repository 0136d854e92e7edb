"""How fast the node is: `make bench`."""
