"""Where exactly: points of the map's drive in space, and a camera's pose by them."""
