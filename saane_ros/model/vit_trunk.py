"""DINOv2's and DINOv3's vision transformers of timm, their patch tokens as a grid of features.

DINOv2: Oquab et al., TMLR 2024; registers: Darcet et al., ICLR 2024. DINOv3: Simeoni et al. 2025.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.errors import SaaneError
from saane_ros.model.adapters import BLOCKS, SideAdapters
from saane_ros.model.appearance import Trunk, TrunkFeatures
from saane_ros.model.timm_trunk import created

NAME = re.compile(r"vit_\w+_patch(?P<patch>\d+)_(?:\w+_)?dinov(?P<version>[23])\w*$")
TAP = re.compile(r"blocks\.(?P<block>\d+)(?:\.attn\.(?P<facet>query|key|value))?$")
FACETS = ("query", "key", "value")
OFFSET = 0.1
"""What DINOv2 adds to the side of the grid that its positional embedding is stretched to; its
networks with registers are stretched to the side itself, with antialiasing."""
FINE_TUNED = 4
"""Blocks that fine-tuning trains, as SALAD does (Izquierdo & Civera 2024, section 4.1)."""


class VitTrunk(Trunk):
    """The patch tokens as B x C x h/p x w/p behind a tap, and the class token, B x C.

    name: timm's, such as "vit_base_patch14_dinov2", without its weights.
    tap: empty for the last block behind the final norm; "blocks.11" for a block without the norm;
        "blocks.31.attn.value" (or key, query) for what that block's attention makes of its input,
        DINOv2 only and without a class token.
    adapters: whose adapters go into the blocks, see `adapters.py`; empty for none.
    The grid is called stride16 among the features though its stride is the patch's; there are no
    finer ones. Raises SaaneError for an unknown architecture, tap or place for adapters.
    """

    def __init__(self, name: str, tap: str = "", adapters: str = "") -> None:
        super().__init__()
        match = NAME.match(name)
        if match is None:
            raise SaaneError(f"timm's {name} is no vision transformer of DINOv2 or DINOv3.")
        self.name, self.patch, self.rotary = name, int(match["patch"]), match["version"] == "3"
        self.network = created(name)
        self.facet = self._cut(tap)
        self.adapters = self._adapt(adapters) if adapters else None
        self.channels16 = int(self.network.embed_dim)
        self.channels2 = self.channels4 = self.channels8 = 0
        self._kept: tuple[tuple[Any, ...], Tensor] | None = None

    def forward(self, images: Tensor) -> TrunkFeatures:
        """Images B x 3 x h x w, normalised; h and w must be multiples of the patch's side."""
        grid = patch_grid(images.shape[-2], images.shape[-1], self.patch)
        tokens = self._tokens(images, grid)
        tokens = self._through_blocks(tokens, grid)
        patches = tokens[:, self.network.num_prefix_tokens :]
        features = patches.transpose(1, 2).unflatten(2, grid)
        token = None if self.facet else tokens[:, 0]
        finer: Any = None
        return TrunkFeatures(finer, finer, finer, features, token)

    def last_stage(self) -> nn.Module:
        """The blocks that are fine-tuned, with the final norm where it is applied."""
        return nn.ModuleList([*self.network.blocks[-FINE_TUNED:], self.network.norm])

    def own_tensors(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of a checkpoint of the whole network what this part of it has, under its own names.

        Keys are timm's or those of DINOv2's authors. A foreign key stays, for strict loading to
        name it; a positional embedding for another resolution is a SaaneError, and so are
        registers that the one has and the other has not.
        """
        if any(key.startswith("network.") for key in tensors):
            return dict(tensors)
        named = {
            key if key.startswith("adapters.") else f"network.{key}": value
            for key, value in timm_names(tensors).items()
        }
        self._require_registers("network.reg_token" in named)
        self._require_positions(named.get("network.pos_embed"))
        return {key: value for key, value in named.items() if not self._behind_tap(key)}

    def _cut(self, tap: str) -> str:
        """Drop what lies behind the tap; the facet that is taken of the last block."""
        depth = len(self.network.blocks)
        self.depth, facet = depth, ""
        if tap:
            match = TAP.match(tap)
            if match is None or int(match["block"]) >= depth or (match["facet"] and self.rotary):
                raise SaaneError(
                    f"timm's {self.name} has no tap {tap!r}: give blocks.0 to blocks.{depth - 1}"
                    + ("." if self.rotary else ", or one of them with .attn.value, key or query.")
                )
            self.network.blocks = self.network.blocks[: int(match["block"]) + 1]
            self.network.norm = nn.Identity()
            facet = match["facet"] or ""
        return facet

    def _adapt(self, kind: str) -> SideAdapters | None:
        if self.rotary or self.facet:
            raise SaaneError(
                f"timm's {self.name} takes no adapters of {kind}: they are DINOv2's, without a "
                "tap inside a block."
            )
        width = self.network.embed_dim
        if kind == "selavpr_pp":
            return SideAdapters(width, len(self.network.blocks))
        self.network.blocks = nn.ModuleList(
            BLOCKS[kind](block, width) for block in self.network.blocks
        )
        return None

    def _tokens(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Class token, registers and patches, B x n x C, with their positions added."""
        net = self.network
        patches = net.patch_embed.proj(images).flatten(2).transpose(1, 2)
        prefix = [net.cls_token] + ([net.reg_token] if net.reg_token is not None else [])
        heads = [part.expand(images.shape[0], -1, -1) for part in prefix]
        if self.rotary:
            return torch.cat([*heads, patches], dim=1)
        positions = self._kept_positions(grid).to(patches.dtype)
        if net.no_embed_class:
            return torch.cat([*heads, patches + positions], dim=1)
        return torch.cat([*heads, patches], dim=1) + positions

    def _kept_positions(self, grid: tuple[int, int]) -> Tensor:
        """Those of the latest grid, where nothing is learned: a camera's images have one size."""
        embedding = self.network.pos_embed
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._positions(grid)
        key = (grid, embedding.device, embedding.dtype, embedding._version)
        if self._kept is None or self._kept[0] != key:
            self._kept = key, self._positions(grid)
        return self._kept[1]

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """The positional embedding stretched to the grid as DINOv2's authors do, 1 x n x C."""
        registers = bool(self.network.no_embed_class)
        embedding = self.network.pos_embed.float()
        token, cells = embedding.tensor_split([0 if registers else 1], dim=1)
        side = math.isqrt(cells.shape[1])
        if grid == (side, side):
            return embedding
        square = cells.unflatten(1, (side, side)).permute(0, 3, 1, 2)
        if registers:
            stretched = functional.interpolate(square, size=grid, mode="bicubic", antialias=True)
        else:
            scale = ((grid[0] + OFFSET) / side, (grid[1] + OFFSET) / side)
            stretched = functional.interpolate(square, scale_factor=scale, mode="bicubic")
        return torch.cat([token, stretched.flatten(2).transpose(1, 2)], dim=1)

    def _through_blocks(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        net = self.network
        if self.rotary:
            rope = net.rope.get_embed(shape=grid)
            for block in net.blocks:
                tokens = block(tokens, rope=rope)
            return net.norm(tokens)
        if self.adapters is not None:
            return net.norm(self.adapters(tokens, net.blocks, grid))
        whole = net.blocks[:-1] if self.facet else net.blocks
        for block in whole:
            tokens = block(tokens, grid) if type(block) in BLOCKS.values() else block(tokens)
        if self.facet:
            last = net.blocks[-1]
            return last.attn.qkv(last.norm1(tokens)).chunk(3, dim=-1)[FACETS.index(self.facet)]
        return net.norm(tokens)

    def _behind_tap(self, key: str) -> bool:
        """Whether a key of the whole network belongs to a part that was cut away."""
        kept = len(self.network.blocks)
        block = re.match(r"network\.blocks\.(\d+)\.", key)
        if block is not None:
            return kept <= int(block[1]) < self.depth
        return key.startswith("network.norm.") and isinstance(self.network.norm, nn.Identity)

    def _require_registers(self, there: bool) -> None:
        own = self.network.reg_token is not None
        if there == own or self.rotary:
            return
        has, other = ("registers", "none") if there else ("no registers", "some")
        raise SaaneError(
            f"The weights have {has} and timm's {self.name} has {other}: take the checkpoint of "
            f"the same kind, or the trunk {_with_registers(self.name, there)}."
        )

    def _require_positions(self, embedding: Tensor | None) -> None:
        own = getattr(self.network, "pos_embed", None)
        if embedding is None or own is None or embedding.shape[1:2] == own.shape[1:2]:
            return
        sides = [math.isqrt(tensor.shape[1]) for tensor in (embedding, own)]
        raise SaaneError(
            f"The positional embedding of the weights is for {sides[0]} x {sides[0]} patches and "
            f"that of timm's {self.name} for {sides[1]} x {sides[1]}: take the checkpoint as "
            "DINOv2's authors publish it, which is stretched to every size of image."
        )


def _with_registers(name: str, registers: bool) -> str:
    """timm's name of the DINOv2 with or without registers."""
    plain = name.replace("_reg4_", "_")
    return plain.replace("_dinov2", "_reg4_dinov2") if registers else plain


def is_vit(name: str) -> bool:
    """Whether timm's name is that of a vision transformer of DINOv2 or DINOv3."""
    return NAME.match(name) is not None


def patch_grid(height: int, width: int, patch: int) -> tuple[int, int]:
    """Rows and columns of patches of an image; SaaneError where they do not fill it."""
    if min(height, width) < patch:
        raise SaaneError(
            f"An image of {height} x {width} pixels is smaller than one patch of {patch} x "
            f"{patch}: give the card a larger preprocessing.height and width."
        )
    if height % patch or width % patch:
        near = [max(1, round(side / patch)) * patch for side in (height, width)]
        raise SaaneError(
            f"An image of {height} x {width} pixels does not divide into patches of {patch}: give "
            f"the card a preprocessing.height and width of {near[0]} x {near[1]}."
        )
    return height // patch, width // patch


def timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DINOv2's published names as timm's; timm's stay. The mask token is for training alone.

    With registers timm adds the class token's position to the token itself.
    """
    found = {
        re.sub(r"\.mlp\.w12\.", ".mlp.fc1.", re.sub(r"\.mlp\.w3\.", ".mlp.fc2.", key)): value
        for key, value in tensors.items()
        if key != "mask_token"
    }
    if {"register_tokens", "cls_token", "pos_embed"} <= found.keys():
        found["reg_token"] = found.pop("register_tokens")
        found["cls_token"] = found["cls_token"] + found["pos_embed"][:, :1]
        found["pos_embed"] = found["pos_embed"][:, 1:]
    return found
