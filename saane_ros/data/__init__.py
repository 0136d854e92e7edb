"""Image places with poses and ground truth, from folders, names and bags."""
