"""Long-term visual localization for robots: SAANE as a ROS 2 package."""

import os

__version__ = "0.1.0"

# A network shares its cores with the camera driver and everything else on a robot: a thread that
# spins while it waits takes them from the one that it waits for. Read when PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
