"""Reading and writing rosbag2 bags."""

from __future__ import annotations

from saane_ros.data.bag_reader import BagReader, BagReport
from saane_ros.data.bag_writer import BagWriter
from saane_ros.data.raw_messages import RawMessage, TopicInfo

__all__ = ["BagReader", "BagReport", "BagWriter", "RawMessage", "TopicInfo"]
