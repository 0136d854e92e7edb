"""Benchmarks with ground truth, each read from the format in which it is published.

`open_datasets` takes the name of a file in config/datasets/, the path of a YAML file of that kind
or a folder, and gives what an evaluation needs; `open_places` gives the training view of the same
data, images grouped by place. One file a format; `registry.py` lists them.
"""

from saane_ros.data.datasets.dataset import Dataset
from saane_ros.data.datasets.registry import open_datasets, open_places

__all__ = ["Dataset", "open_datasets", "open_places"]
