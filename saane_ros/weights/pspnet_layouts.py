"""The two public layouts of ADE20K PSPNet checkpoints, brought to the names of our PspNet.

CSAILVision/semantic-segmentation-pytorch keeps encoder and decoder in two flat files;
hszhao/semseg keeps one, wrapped and prefixed. They differ in dilation and interpolation too,
so that weights of one layout must not run in the other's network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from saane_ros.errors import SaaneError
from saane_ros.weights.checkpoints import without_module_prefix

TRAINING_ONLY = re.compile(
    r"(.*\._tmp_running_(mean|var)|.*\._running_iter|aux\..*|cbr_deepsup\..*|conv_last_deepsup\..*)"
)

RENAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "csail": (
        (r"conv1\.", "stem.0.conv."),
        (r"bn1\.", "stem.0.bn."),
        (r"conv2\.", "stem.1.conv."),
        (r"bn2\.", "stem.1.bn."),
        (r"conv3\.", "stem.2.conv."),
        (r"bn3\.", "stem.2.bn."),
        (r"ppm\.([0-3])\.1\.", r"ppm.\1.conv."),
        (r"ppm\.([0-3])\.2\.", r"ppm.\1.bn."),
        (r"conv_last\.0\.", "bottleneck.conv."),
        (r"conv_last\.1\.", "bottleneck.bn."),
        (r"conv_last\.4\.", "classifier."),
    ),
    "semseg": (
        (r"layer0\.0\.", "stem.0.conv."),
        (r"layer0\.1\.", "stem.0.bn."),
        (r"layer0\.3\.", "stem.1.conv."),
        (r"layer0\.4\.", "stem.1.bn."),
        (r"layer0\.6\.", "stem.2.conv."),
        (r"layer0\.7\.", "stem.2.bn."),
        (r"ppm\.features\.([0-3])\.1\.", r"ppm.\1.conv."),
        (r"ppm\.features\.([0-3])\.2\.", r"ppm.\1.bn."),
        (r"cls\.0\.", "bottleneck.conv."),
        (r"cls\.1\.", "bottleneck.bn."),
        (r"cls\.4\.", "classifier."),
    ),
}


def pspnet_tensors(tensors: Mapping[str, Tensor], variant: str, what: str) -> dict[str, Tensor]:
    """Tensors of a public checkpoint under PspNet's names, what only training needs dropped.

    variant: "csail" or "semseg", as in the model card; a checkpoint of the other one is refused.
    A file already under PspNet's own names passes unchanged, and a key of no layout is kept so
    that strict loading names it.
    """
    tensors = without_module_prefix(tensors)
    for other in RENAMES.keys() - {variant}:
        if _looks_like(tensors, other):
            raise SaaneError(
                f"{what} is a PSPNet checkpoint of the {other} layout where the model card says "
                f"{variant}: set semantics.variant to {other}, which also sets its dilation."
            )
    return {
        _renamed(key, variant): value
        for key, value in tensors.items()
        if not TRAINING_ONLY.fullmatch(key)
    }


def _renamed(key: str, variant: str) -> str:
    for pattern, name in RENAMES[variant]:
        if re.match(pattern, key):
            return re.sub(f"^{pattern}", name, key)
    return key


def _looks_like(tensors: Mapping[str, Tensor], variant: str) -> bool:
    return any(_renamed(key, variant) != key for key in tensors)
