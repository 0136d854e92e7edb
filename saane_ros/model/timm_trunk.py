"""Any convolutional trunk of timm, cut behind the layer that is tapped.

timm (Wightman, PyTorch Image Models) gives every architecture a name, and a name to every layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from saane_ros.errors import SaaneError
from saane_ros.model.appearance import Trunk, TrunkFeatures

PREFIX = "timm/"
STRIDES = (2, 4, 8, 16)
TRIAL_SIDE = 64


class TimmTrunk(Trunk):
    """An architecture of timm up to a tap at stride 16, without its weights.

    name: timm's, such as "tf_efficientnet_lite2".
    tap: name of the layer whose output is taken at stride 16; empty for the one that timm lists.
        In networks of inverted bottlenecks the first layer of the last stage widens what came
        before it, still at stride 16: "blocks.5.0.bn1" of EfficientNets.
    A stride that the architecture does not have is None among the features, its channels 0.
    Raises SaaneError for an unknown architecture or tap, and for one without a grid of features.
    """

    def __init__(self, name: str, tap: str = "") -> None:
        super().__init__()
        model = created(name)
        nodes = {info["module"]: info["reduction"] for info in _infos(model)}
        taps = {f"stride{nodes[module]}": module for module in nodes if nodes[module] in STRIDES}
        if tap:
            taps["stride16"] = tap
        self._folded = False
        self._keys = tuple(model.state_dict())
        self.network = _cut(name, model, taps)
        channels = {key: value.shape[1] for key, value in self._trial(name).items()}
        self.channels2, self.channels4, self.channels8, self.channels16 = (
            channels.get(f"stride{stride}", 0) for stride in STRIDES
        )

    def forward(self, images: Tensor) -> TrunkFeatures:
        """Images B x 3 x h x w, normalised, to the features of all strides."""
        if self._folded:
            images = images.contiguous(memory_format=torch.channels_last)
        found = self.network(images)
        return TrunkFeatures(*(found.get(f"stride{stride}") for stride in STRIDES))

    def last_stage(self) -> nn.Module:
        """Every layer that runs behind the features at stride 8."""
        nodes = list(self.network.graph.nodes)
        outputs: dict[str, Any] = nodes[-1].args[0]
        start = nodes.index(outputs["stride8"]) + 1 if "stride8" in outputs else 0
        names = [node.target for node in nodes[start:] if node.op == "call_module"]
        return nn.ModuleList(self.network.get_submodule(name) for name in names)

    @torch.no_grad()
    def fold(self) -> None:
        """Put every BatchNorm into the convolution before it: equal up to rounding, and faster.

        For trunks that are not trained any more; their state dict is another one afterwards.
        """
        for node in self.network.graph.nodes:
            before = node.args[0] if node.op == "call_module" else None
            if before is None or before.op != "call_module" or len(before.users) > 1:
                continue
            norm = self.network.get_submodule(node.target)
            convolution = self.network.get_submodule(before.target)
            if isinstance(norm, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
                _fold_into(convolution, norm)
                rest = [getattr(norm, name, nn.Identity()) for name in ("drop", "act")]
                self.network.set_submodule(node.target, nn.Sequential(*rest))
        self._folded = True
        self.to(memory_format=torch.channels_last)

    def own_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of a checkpoint of the whole network what this part of it has, under its own names.

        Keys are timm's, or those of EfficientNet's first PyTorch port (`_blocks.7._bn0.weight`).
        A key that the whole network does not have either stays, for strict loading to name it.
        """
        tensors = self._ported(tensors)
        wanted = set(self.state_dict())
        named = {
            f"network.{key}": value
            for key, value in tensors.items()
            if f"network.{key}" in wanted or key not in self._keys
        }
        return named if any(key in wanted for key in named) else dict(tensors)

    def _ported(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Keys of the port are in timm's order, so the one at the same position is meant."""
        blocks = [key for key in tensors if re.fullmatch(r"_blocks\.\d+\._\w+\.weight", key)]
        if not blocks or len(tensors) != len(self._keys):
            return tensors
        return dict(zip(self._keys, tensors.values(), strict=True))

    @torch.no_grad()
    def _trial(self, name: str) -> dict[str, Tensor]:
        """A run on a small image, so that an unsuitable architecture fails when it is named."""
        try:
            image = torch.zeros(1, 3, TRIAL_SIDE, TRIAL_SIDE)
            found: dict[str, Tensor] = self.eval().network(image)
            side = found["stride16"].shape[-1] if found["stride16"].ndim == 4 else 0
        except (RuntimeError, AssertionError, KeyError, AttributeError):
            side = 0
        if side != TRIAL_SIDE // 16:
            raise SaaneError(
                f"timm's {name} has no grid of features at stride 16 there: name a convolutional "
                "network, and with `tap` a layer of it that has one; of the vision transformers "
                "those of DINOv2 and DINOv3 alone are trunks, such as vit_base_patch14_dinov2."
            )
        return found


def created(name: str) -> Any:
    """timm's network of that name, without its weights; SaaneError for an unknown one."""
    try:
        import timm
    except ImportError as error:
        raise SaaneError(
            f"The trunk {PREFIX}{name} needs the package timm, which is not installed: "
            "pip install timm."
        ) from error
    if not timm.is_model(name):
        raise SaaneError(f"timm has no model {name!r}: see timm.list_models() for its names.")
    return timm.create_model(name, pretrained=False)


def _infos(model: nn.Module) -> list[dict[str, Any]]:
    """timm's own list of layers that end a stage; the last one of every stride counts."""
    infos: Any = getattr(model, "feature_info", [])
    return list(infos)


def _fold_into(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    convolution.weight, bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    convolution.bias = bias


def _cut(name: str, model: nn.Module, taps: dict[str, str]) -> Any:
    from timm.models import create_feature_extractor

    try:
        return create_feature_extractor(model, {layer: key for key, layer in taps.items()})
    except (ValueError, RuntimeError, TypeError) as error:
        raise SaaneError(
            f"timm's {name} cannot be cut behind {', '.join(taps.values())}: name one of its "
            "layers with `tap`."
        ) from error
