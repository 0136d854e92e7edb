"""The way of an image into a node: subscription, stamps, the newest one, the worker."""
