"""Oxford RobotCar: the files of a traversal, and a traversal as a rosbag2 bag."""
