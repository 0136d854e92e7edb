# setup, demo, test, lint, fuzz, bench. A second run repeats no finished set-up.

VENV ?= .venv
PYTHON ?= python3
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
DATA ?=
WEIGHTS ?=
MODEL ?=
MUTATIONS ?= 100000

# A sourced ROS 2 brings its own client library; the wheels are for machines without one. There is
# none of tf2_msgs: the tests compile their own.
ROS_WHEELS := "ros-rclpy[fastrtps]" ros-sensor-msgs ros-std-msgs ros-geometry-msgs ros-nav-msgs \
	ros-visualization-msgs ros-diagnostic-msgs ros-std-srvs

ifdef ROS_DISTRO
VENV_OPTIONS := --system-site-packages
EXTRA :=
else
VENV_OPTIONS :=
EXTRA := $(ROS_WHEELS)
endif

.PHONY: setup demo test lint fuzz bench results poster clean

setup: $(STAMP)

$(STAMP): setup.py
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV_OPTIONS) $(VENV) || { rm -rf $(VENV); \
		echo "No virtual environment could be made: sudo apt install python3-venv"; exit 1; }
	$(RUN) -m pip install --disable-pip-version-check --progress-bar on -e ".[train,test]" $(EXTRA)
	touch $(STAMP)

demo: setup
	$(RUN) -m saane_ros.cli demo $(if $(DATA),--data "$(DATA)") $(if $(MODEL),--model "$(MODEL)")

test: setup
	$(RUN) -m pytest

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy saane_ros
	$(RUN) -m mkdocs build --quiet --strict

# Reads so many damaged files and wrong arguments, shared among the formats; prints what came of it.
fuzz: setup
	PYTHONPATH=test OMP_NUM_THREADS=1 OPENCV_LOG_LEVEL=SILENT $(RUN) -m fuzz.run --mutations $(MUTATIONS)

bench: setup
	$(RUN) -m saane_ros.ros.benchmark
	$(RUN) -m saane_ros.localization.benchmark
	$(RUN) -m saane_ros.evaluation.metric_benchmark
	$(RUN) -m saane_ros.data.robotcar.benchmark
	$(RUN) -m saane_ros.evaluation.engine_benchmark $(if $(WEIGHTS),--weights "$(WEIGHTS)")
	$(RUN) -m saane_ros.route_map.benchmark
	$(RUN) -m saane_ros.ros.benchmark.report

# Trains and measures again what results/ holds; DATA is the folder of the images, WEIGHTS one with
# the trunk's weights (downloaded where it is left out). Recorded scores of others become rows of the
# table where DATA has them as peer_scores/.
TRAIN_FOLDERS = --data "$(DATA)" --weights "$(WEIGHTS)"
COMPARED := trunk:resnet18:max saane-town saane-resnet18-app saane-resnet18-app-sem \
	saane-resnet18-app-att saane-resnet18-app-att-sem-att saane-resnet18 saane-resnet18:mean \
	saane-resnet50 saane-resnet50:mean amosnet-resnet18-cosine apanet-resnet18 apanet-mm-resnet18 \
	dense-vlad netvlad-resnet18 netvlad-resnet18-weak netvlad-resnet18-filter \
	sralnet-resnet18 sralnet-resnet18-weak sralnet-resnet18-filter sralnet-resnet18-unet \
	sralnet-resnet18-class-weights
# Every other model whose weights are at hand, the published systems among them.
AT_HAND = $$($(RUN) -m saane_ros.cli models list --at-hand --weights "$(WEIGHTS)" \
	| grep -vxF "$$(printf '%s\n' $(COMPARED))")

results: setup
	for trunk in resnet18 resnet50; do \
		$(RUN) -m saane_ros.cli train segmentation --config config/train/camvid-$$trunk.yaml \
			$(TRAIN_FOLDERS) --out out/camvid-$$trunk --results results && \
		$(RUN) -m saane_ros.cli train table --config config/train/saane-$$trunk.yaml \
			$(TRAIN_FOLDERS) --out out/$$trunk --results results || exit 1; \
	done
	$(RUN) -m saane_ros.cli train evidence --config config/train/evidence.yaml \
		$(TRAIN_FOLDERS) --out out/evidence --models config --results results
	mkdir -p results/comparison
	$(RUN) -m saane_ros.cli evaluate --published --model $(COMPARED) $(AT_HAND) $(wildcard $(DATA)/peer_scores) \
		--dataset corridor grief_season nordland_64x32 town-night town-snow --root "$(DATA)" \
		--weights "$(WEIGHTS)" --device cpu --threads 1 --out results/comparison \
		> results/comparison/table.txt
	mkdir -p results/reranking
	$(RUN) -m saane_ros.cli evaluate --model saane-resnet18 saane-street netvlad-resnet18 \
		--rerank grids rapid mutual own --dataset corridor grief_season --root "$(DATA)" \
		--weights "$(WEIGHTS)" --device cpu --threads 1 --out results/reranking \
		> results/reranking/table.txt

# The poster's arms on VGG-16 and on ResNet-50: NetVLAD with SRALNet's words, SRALNet, and that with a
# U-Net and with a Mask2Former filter. DATA holds pitts250k/ and sral_centroids.h5; needs a GPU.
TRAIN := $(RUN) -m saane_ros.cli train
poster: setup
	$(TRAIN) pseudo-labels --teacher mask2former-cityscapes \
		--classes config/train/cityscapes.classes.yaml --images pitts250k/000 pitts250k/006 \
		$(TRAIN_FOLDERS) --out "$(DATA)/pitts250k-labels"
	stage() { $(TRAIN) $$1 --config config/train/$$2.yaml $(TRAIN_FOLDERS) --out out/poster/$$3 $$4; }; \
	for trunk in vgg16 resnet50; do \
		sralnet=sralnet-$$trunk; \
		for arm in netvlad-$$trunk $$sralnet; do \
			stage vocabulary $$arm $$arm && stage weak $$arm $$arm && \
				stage export $$arm $$arm --models=out/poster/models || exit 1; \
		done; \
		stage segmentation $$sralnet-unet $$sralnet || exit 1; \
		for arm in $$sralnet-unet $$sralnet-mask2former; do \
			stage export $$arm $$sralnet --models=out/poster/models || exit 1; \
		done; \
	done
	mkdir -p results/poster
	$(RUN) -m saane_ros.cli evaluate --model out/poster/models/*.yaml --dataset pitts30k-test \
		--root "$(DATA)" --weights "$(WEIGHTS)" --out results/poster > results/poster/table.txt

clean:
	rm -rf $(VENV) out build install log
