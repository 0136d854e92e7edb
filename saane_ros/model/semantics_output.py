"""What every semantic network gives: the features that are fused, and the classes."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class SemanticOutput(NamedTuple):
    """features: B x C_S x h' x w', the tensor before the classifier.  logits: B x K x h' x w'.

    h' and w' are a fraction of the image's sides that depends on the network (1/8 for PSPNet);
    softmax over the K logits gives class probabilities.
    """

    features: Tensor
    logits: Tensor
