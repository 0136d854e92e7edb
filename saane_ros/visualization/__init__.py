"""Pictures of what the localizer sees: attention, segmentation, matched places."""

from saane_ros.visualization.attention import attention_tile, overlay_attention
from saane_ros.visualization.colours import class_colours
from saane_ros.visualization.labels import overlay_labels
from saane_ros.visualization.overview import match_caption, match_headline, overview
from saane_ros.visualization.panel import Tile, side_by_side, stacked

__all__ = [
    "Tile",
    "attention_tile",
    "class_colours",
    "match_caption",
    "match_headline",
    "overlay_attention",
    "overlay_labels",
    "overview",
    "side_by_side",
    "stacked",
]
