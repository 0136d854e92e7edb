"""Reading and writing rosbag2 bags."""

from __future__ import annotations

from saane_ros.data.bags.raw_messages import RawMessage, TopicInfo
from saane_ros.data.bags.reader import BagReader, BagReport
from saane_ros.data.bags.writer import BagWriter

__all__ = ["BagReader", "BagReport", "BagWriter", "RawMessage", "TopicInfo"]
