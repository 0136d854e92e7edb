"""The bond by which nav2_lifecycle_manager knows that an active node lives, where bondpy is there.

As every node of Nav2 has it: topic `bond`, the node's name, broken after 4 s without a heartbeat.
"""

from __future__ import annotations

from typing import Any

from rclpy.node import Node

_TOPIC = "bond"
_TIMEOUT_S = 4.0


def form_bond(node: Node, period_s: float) -> Any:
    """A bond with a heartbeat every so many seconds; None where bondpy is not installed."""
    try:
        from bondpy.bondpy import Bond
    except ImportError as error:
        node.get_logger().debug(f"No bond with a lifecycle manager is formed: {error}.")
        return None

    class OrderlyBond(Bond):
        """A bond whose thread does not fail where the process ends before it."""

        def _publish(self, active: bool) -> None:
            if node.context.ok():
                super()._publish(active)

    bond = OrderlyBond(node, _TOPIC, node.get_name())
    bond.set_heartbeat_period(period_s)
    bond.set_heartbeat_timeout(_TIMEOUT_S)
    bond.start()
    return bond


def break_bond(node: Node, bond: Any) -> None:
    """Tell the manager that the node is no longer active, and take the bond's topics away."""
    bond.shutdown()
    # bondpy destroys them, but the node goes on listing them, and the next spin would fail.
    node.destroy_subscription(bond.sub)
    node.destroy_publisher(bond.pub)
