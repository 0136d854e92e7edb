"""A DDS domain of one's own on this machine."""

from __future__ import annotations

import random
import socket

from saane_ros.errors import SaaneError

_DOMAINS = range(1, 102)  # 102 and up meet the ports that Linux gives to clients


def free_domain_id() -> int:
    """A ROS domain id that no participant on this machine uses, chosen at random."""
    for domain in random.sample(_DOMAINS, len(_DOMAINS)):
        if all(_free(port) for port in _first_ports(domain)):
            return domain
    raise SaaneError("All 101 ROS domain ids are in use on this machine: end some ROS programs.")


def _first_ports(domain: int) -> list[int]:
    """The unicast ports of a domain's first four participants (DDSI-RTPS 9.6.2.3)."""
    return [7400 + 250 * domain + 10 + offset for offset in range(8)]


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
