"""Long-term visual localization for robots: SAANE as a ROS 2 package."""

__version__ = "0.1.0"
