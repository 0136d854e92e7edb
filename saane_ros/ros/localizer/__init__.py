"""The node that says where the vehicle is, and its drives without ROS."""
