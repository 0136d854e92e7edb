"""Any Hugging Face segmentation model as the semantic stream, through the extra `transformers`.

Two families: networks that score every pixel (SegFormer, UperNet) and networks that score masks
(Mask2Former, MaskFormer). Only safetensors are loaded and no code from a checkpoint is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saane_ros.errors import SaaneError
from saane_ros.model.normalisation import Renormalisation
from saane_ros.model.semantics_output import SemanticOutput

TRIAL_SIDE = 128


class HuggingFaceSegmenter(nn.Module):
    """A loaded segmentation model behind the interface of the other semantic networks.

    images come normalised by `mean` and `std`; where the model was trained with others, they are
    converted.  channels: of the features.  class_names: by index, from the model's id2label.
    """

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        model_mean: Sequence[float],
        model_std: Sequence[float],
    ) -> None:
        super().__init__()
        self.model = model
        config: Any = model.config
        names = {int(index): str(name) for index, name in config.id2label.items()}
        self.class_names = tuple(names[index] for index in sorted(names))
        self.renormalisation = Renormalisation(mean, std, model_mean, model_std)
        self.classifier_name = _pixel_classifier(model, len(self.class_names))
        self.eval()
        self.channels = self._trial().features.shape[1]

    def forward(self, images: Tensor) -> SemanticOutput:
        """Images B x 3 x h x w to features and logits on the model's own grid, mostly h/4 x w/4.

        features: what the last layer that knows of classes sees: the fused map of the decoder
        (pixels), or the pixel decoder's mask features (masks).
        """
        pixels = self.renormalisation(images)
        if self.classifier_name:
            return self._score_pixels(pixels)
        outputs = self.model(pixel_values=pixels)
        logits = mask_class_logits(outputs.class_queries_logits, outputs.masks_queries_logits)
        return SemanticOutput(outputs.pixel_decoder_last_hidden_state, logits)

    def _score_pixels(self, pixels: Tensor) -> SemanticOutput:
        """Take both sides of the classifier, before any enlargement of the logits."""
        seen: list[SemanticOutput] = []
        classifier = self.model.get_submodule(self.classifier_name)
        hook = classifier.register_forward_hook(
            lambda _, inputs, output: seen.append(SemanticOutput(inputs[0], output))
        )
        try:
            self.model(pixel_values=pixels)
        finally:
            hook.remove()
        return seen[-1]

    @torch.no_grad()
    def _trial(self) -> SemanticOutput:
        """A run on a small image, so that an unsuitable model fails when it is loaded."""
        kind = type(self.model).__name__
        try:
            return self(torch.zeros(1, 3, TRIAL_SIDE, TRIAL_SIDE))
        except (ValueError, RuntimeError, AttributeError, IndexError, AssertionError) as error:
            raise SaaneError(
                f"A {kind} cannot be the semantic network ({_first_line(error)}): use a model "
                "that segments images of any size, such as SegFormer or Mask2Former."
            ) from error


def mask_class_logits(class_queries: Tensor, mask_queries: Tensor) -> Tensor:
    """Class logits of every mask cell from Q scored masks (Cheng et al. 2022, Mask2Former).

    class_queries: B x Q x (K + 1), the last the null class, dropped after the softmax.
    mask_queries: B x Q x h x w.  Returns B x K x h x w: the logarithm of
    sum_q p_q(class) sigmoid(mask_q), so that softmax gives the scores normalised to one.
    """
    probabilities = class_queries.softmax(dim=-1)[..., :-1]
    scores = torch.einsum("bqk,bqhw->bkhw", probabilities, mask_queries.sigmoid())
    return scores.clamp_min(torch.finfo(scores.dtype).tiny).log()


def load_segmenter(
    folder: Path, mean: Sequence[float], std: Sequence[float]
) -> HuggingFaceSegmenter:
    """The model in a folder as `save_pretrained` writes it, in fp32 and evaluation mode.

    mean, std: how the images that it will get are normalised.  Nothing is asked of the hub.  Raises
    SaaneError where the extra is not installed, or the folder lacks files or weights or cannot
    serve.
    """
    if not (folder / "config.json").is_file():
        raise SaaneError(
            f"Hugging Face model {folder} has no config.json: give the path of a folder that "
            "save_pretrained wrote, or the name of a model of the hub, <owner>/<name>."
        )
    try:
        import transformers
    except ImportError as error:
        raise SaaneError(
            f"Model {folder} needs the package transformers, which is not installed: "
            "pip install transformers scipy."
        ) from error
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        model, report = _model_class(config).from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise SaaneError(
            f"Hugging Face model {folder} cannot be loaded ({_first_line(error)}): give the path "
            "of a folder with config.json and model.safetensors of a segmentation."
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise SaaneError(
            f"Hugging Face model {folder} lacks {len(missing)} weights of its network "
            f"({', '.join(missing[:8])}): use a checkpoint trained for segmentation."
        )
    return HuggingFaceSegmenter(model.float(), mean, std, *_normalisation(folder, mean, std))


def _model_class(config: Any) -> Any:
    from transformers import AutoModelForSemanticSegmentation, AutoModelForUniversalSegmentation
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING

    if type(config) in MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING:
        return AutoModelForSemanticSegmentation
    return AutoModelForUniversalSegmentation


def _normalisation(
    folder: Path, mean: Sequence[float], std: Sequence[float]
) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and std that the checkpoint asks for; those of the images where it asks for none."""
    values = image_processor(folder)
    if not values:
        return mean, std
    if values.get("do_flip_channel_order"):
        raise SaaneError(
            f"Hugging Face model {folder} wants BGR images, which are not supported: "
            "use a model trained on RGB."
        )
    if not values.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return values.get("image_mean", mean), values.get("image_std", std)


def image_processor(folder: Path) -> dict[str, Any]:
    """What the model's preprocessor_config.json says; empty where it has none."""
    from transformers.image_processing_utils import BaseImageProcessor

    try:
        values, _ = BaseImageProcessor.get_image_processor_dict(folder, local_files_only=True)
    except OSError:
        return {}
    return dict(values)


def _pixel_classifier(model: nn.Module, classes: int) -> str:
    """Name of the last convolution with one output per class; empty for networks of masks.

    Those have a `class_predictor` over their queries instead.
    """
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
        and module.out_channels == classes
        and not name.startswith("auxiliary")
    ]
    return names[-1] if names and not hasattr(model, "class_predictor") else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".: ") or type(error).__name__
