"""tf2_msgs, which every ROS 2 brings and the client library's wheels do not.

`/tf` and `/tf_static` are spoken directly: on the wire a listener of tf2_ros is a latched
subscription and a broadcaster is a publisher, and what its buffer would add, transforms that change
over time, is not asked for. So there is one way, with and without tf2_ros, and the tests run it.
"""

from __future__ import annotations

try:
    from tf2_msgs.msg import TFMessage
except ImportError:

    class TFMessage:  # type: ignore[no-redef]
        """Stands for the type in the tables of topics; it can be neither sent nor received."""

    TFMessage.__module__ = "tf2_msgs.msg._tf_message"

SPOKEN = hasattr(TFMessage, "SLOT_TYPES")
"""Whether transforms can be heard and published."""
NOT_SPOKEN = "tf2_msgs is not installed"
