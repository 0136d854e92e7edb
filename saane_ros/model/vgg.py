"""VGG-16 up to conv5_3 before its ReLU: the trunk of NetVLAD, SRALNet and the poster's filters.

Simonyan & Zisserman 2015; cut as in Arandjelovic et al. 2016.
"""

from __future__ import annotations

from torch import Tensor, nn

from saane_ros.model.appearance import Trunk, TrunkFeatures

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VggTrunk(Trunk):
    """conv1_1 to conv5_3 under torchvision's own parameter names (`features.0` to `features.28`).

    The features at strides 2, 4 and 8 are relu2_2, relu3_3 and relu4_3; those at 16 are conv5_3
    before its ReLU, 512 channels.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.taps: list[int] = []
        inputs = 3
        for stage in STAGES:
            for outputs in stage:
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = outputs
            self.taps.append(len(layers) - 1)
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-2])
        self.taps[-1] -= 1
        self.channels2, self.channels4, self.channels8, self.channels16 = 128, 256, 512, 512

    def forward(self, images: Tensor) -> TrunkFeatures:
        """Images B x 3 x h x w, normalised, to the features of four strides."""
        seen = []
        for index, layer in enumerate(self.features):
            images = layer(images)
            if index in self.taps[1:]:
                seen.append(images)
        return TrunkFeatures(*seen)

    def last_stage(self) -> nn.Module:
        """conv5_1 to conv5_3, as NetVLAD fine-tunes them."""
        return self.features[self.taps[-2] + 1 :]
