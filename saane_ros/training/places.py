"""Images whose folder is their place: the training contract of fixed cameras and of the town."""

from __future__ import annotations

from saane_ros.data.place_images import PlaceImages, read_places

__all__ = ["PlaceImages", "read_places"]
