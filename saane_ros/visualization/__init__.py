"""Attention and segmentation overlays, match panels."""
