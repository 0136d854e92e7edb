"""The node that plays images or a bag as a camera."""
