"""Nodes and everything that needs rclpy."""
