"""The node that makes a route map while somebody drives."""
