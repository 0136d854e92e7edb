"""What a network runs on beside PyTorch itself: torch.compile, ONNX Runtime, OpenVINO.

An engine changes the speed and, by its precision, the last digits; never what a model is. So the
fingerprint knows nothing of engines, and a map serves all of them.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.backends import cudnn

from saane_ros.embedding.export import INPUT
from saane_ros.errors import SaaneError
from saane_ros.model.saane import SaaneOutput

TORCH, COMPILED, ONNX, OPENVINO = "torch", "compiled", "onnx", "openvino"
PRECISIONS = {
    TORCH: ("fp32", "bf16", "fp16"),
    COMPILED: ("fp32", "bf16", "fp16"),
    ONNX: ("fp32", "fp16", "int8"),
    OPENVINO: ("fp32", "bf16", "fp16", "int8"),
}
PACKAGES = {ONNX: "onnxruntime", OPENVINO: "openvino"}
"""What pip calls the library of an engine."""

PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
"""Of ONNX Runtime, the fastest first; those that an installation lacks are left out."""

_OPENVINO_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_WARM_UPS = 3


Finish = Callable[[SaaneOutput, tuple[str, ...]], dict[str, Tensor]]


class Graph(Protocol):
    """A loaded graph: uint8 images (B, h, w, 3) to what the network makes of them, on the CPU.

    size: bytes of its file.
    """

    size: int

    def __call__(self, images: NDArray[np.uint8]) -> SaaneOutput: ...


def load_graph(engine: str, precision: str, path: Path, device: str, threads: int) -> Graph:
    """A graph on its engine.

    device: cpu or cuda.  threads: of the CPU, 0 for the library's choice.
    Raises SaaneError where the library is absent or refuses the graph or the precision.
    """
    library = imported(engine)
    check_precision(engine, precision)
    try:
        if engine == ONNX:
            return OnnxGraph(library, precision, path, device, threads)
        return OpenVinoGraph(library, precision, path, threads)
    except SaaneError:
        raise
    except Exception as error:  # each library has errors of its own
        reason = str(error).strip().split("\n")[0][:200].rstrip(".: ")
        raise SaaneError(f"{PACKAGES[engine]} refuses the graph {path} ({reason}).") from error


def imported(engine: str) -> Any:
    """The library of an engine; SaaneError where it is not installed."""
    package = PACKAGES[engine]
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise SaaneError(
            f"Engine {engine} needs the package {package}, which is not installed: "
            f'pip install "saane_ros[{engine}]".'
        ) from error


def check_precision(engine: str, precision: str) -> None:
    """SaaneError where an engine has no such precision."""
    if precision not in PRECISIONS[engine]:
        raise SaaneError(
            f"Engine {engine} has no precision {precision}: choose one of "
            f"{', '.join(PRECISIONS[engine])}."
        )


class OnnxGraph:
    """On ONNX Runtime; on a Jetson or another GPU by TensorRT or CUDA where it is built so."""

    def __init__(self, library: Any, precision: str, path: Path, device: str, threads: int) -> None:
        options = library.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # its errors are raised too
        # A thread that spins while it waits takes its core from the camera driver.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = _providers(library.get_available_providers(), precision, path, device)
        self._session = library.InferenceSession(str(path), options, providers=providers)
        self.size = path.stat().st_size
        self._names = tuple(output.name for output in self._session.get_outputs())
        self._one_by_one = self._session.get_inputs()[0].shape[0] == 1

    def __call__(self, images: NDArray[np.uint8]) -> SaaneOutput:
        parts = [images[i : i + 1] for i in range(len(images))] if self._one_by_one else [images]
        return _output(self._names, [self._session.run(None, {INPUT: part}) for part in parts])


def _providers(
    available: list[str], precision: str, path: Path, device: str
) -> list[tuple[str, dict[str, str]]]:
    """The execution providers to ask for, with their options."""
    wanted = [name for name in PROVIDERS if name in available]
    if device == "cpu":
        wanted = [PROVIDERS[-1]]
    elif wanted == [PROVIDERS[-1]]:
        raise SaaneError(
            "Engine onnx does not reach the GPU, as this onnxruntime is built for CPUs: install "
            "onnxruntime-gpu, or choose another engine."
        )
    half = precision == "fp16"
    if half and PROVIDERS[0] not in wanted:
        raise SaaneError(
            "Engine onnx has fp16 with TensorRT alone, which this onnxruntime or device lacks: "
            "choose fp32."
        )
    # TensorRT takes minutes to build its plan, and keeps it.
    tensorrt = {
        "trt_fp16_enable": str(half),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(path.parent.parent / "tensorrt"),
    }
    return [(name, tensorrt if name == PROVIDERS[0] else {}) for name in wanted]


class OpenVinoGraph:
    """On OpenVINO's CPU plug-in: one image as a graph of fixed size, several as one of any.

    Several go one by one where the exported graph is for one image.
    """

    def __init__(self, library: Any, precision: str, path: Path, threads: int) -> None:
        self._core = library.Core()
        self._path = path
        self._options = {
            "INFERENCE_PRECISION_HINT": _OPENVINO_HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # a robot's cores are shared
        }
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._of_any: Any = None
        model = self._core.read_model(path)
        self._one_by_one = bool(model.input(0).get_partial_shape()[0].is_static)
        fixed = [side.get_length() for side in model.input(0).get_partial_shape()[1:]]
        model.reshape({INPUT: [1, *fixed]})
        self._of_one = self._core.compile_model(model, "CPU", self._options)
        self.size = path.stat().st_size
        self._names = tuple(output.get_any_name() for output in self._of_one.outputs)

    def __call__(self, images: NDArray[np.uint8]) -> SaaneOutput:
        if len(images) == 1 or self._one_by_one:
            parts = [self._values(self._of_one, images[i : i + 1]) for i in range(len(images))]
            return _output(self._names, parts)
        if self._of_any is None:
            model = self._core.read_model(self._path)
            self._of_any = self._core.compile_model(model, "CPU", self._options)
        return _output(self._names, [self._values(self._of_any, images)])

    def _values(self, compiled: Any, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        # Copied, as the library uses its memory again.
        values = compiled({INPUT: images})
        return [np.array(values[name]) for name in self._names]


def _output(names: tuple[str, ...], parts: list[list[NDArray[np.float32]]]) -> SaaneOutput:
    """The values of one or several parts of a batch by their names."""
    whole = [np.concatenate(values) for values in zip(*parts, strict=True)]
    found = {name: torch.from_numpy(value) for name, value in zip(names, whole, strict=True)}
    return SaaneOutput(*(found.get(name) for name in SaaneOutput._fields))  # type: ignore[arg-type]


class CompiledNetwork:
    """A network by torch.compile for single images; on CUDA, replayed as a recorded CUDA graph.

    network: uint8 images (B, h, w, 3) to its output.  finish: makes of it what is wanted.
    scores: what is wanted by this name needs class scores.
    """

    def __init__(
        self, network: nn.Module, finish: Finish, scores: str, device: torch.device
    ) -> None:
        self._compiled = torch.compile(network, dynamic=False)
        self._finish, self._scores, self._device = finish, scores, device
        self._recorded: dict[tuple[str, ...], _Recorded] = {}

    def __call__(self, image: Tensor, wanted: tuple[str, ...]) -> dict[str, Tensor]:
        """What is found in an image (1, h, w, 3) on the CPU.

        On CUDA in pinned memory that is still being written, and is again by the next image.
        """
        if self._device.type != "cuda":
            return self._found(image, wanted)
        if wanted not in self._recorded:
            self._recorded[wanted] = self._record(image, wanted)
        return self._recorded[wanted].replayed(image)

    def _found(self, image: Tensor, wanted: tuple[str, ...]) -> dict[str, Tensor]:
        return self._finish(self._compiled(image, labels=self._scores in wanted), wanted)

    def _record(self, image: Tensor, wanted: tuple[str, ...]) -> _Recorded:
        there = image.to(self._device)
        stream = _recording_stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        # Recording must find everything compiled and the fastest convolutions chosen.
        with torch.cuda.stream(stream), cudnn.flags(enabled=True, benchmark=True):
            for _ in range(_WARM_UPS):
                self._found(there, wanted)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                found = self._found(there, wanted)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        given = torch.empty_like(image, pin_memory=True)
        taken = {
            name: torch.empty_like(value, device="cpu", pin_memory=True)
            for name, value in found.items()
        }
        return _Recorded(graph, given, there, found, taken)


class _Recorded(NamedTuple):
    """A CUDA graph with the tensors that it reads and writes, and their pinned doubles."""

    graph: Any
    given: Tensor
    image: Tensor
    found: dict[str, Tensor]
    taken: dict[str, Tensor]

    def replayed(self, image: Tensor) -> dict[str, Tensor]:
        self.given.copy_(image)
        self.image.copy_(self.given, non_blocking=True)
        self.graph.replay()
        for name, value in self.found.items():
            self.taken[name].copy_(value, non_blocking=True)
        return self.taken


@functools.cache
def _recording_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all models of a device: libraries keep memory for every stream that they ran on."""
    return torch.cuda.Stream(device)
