"""A CLIP that scores pictures against captions: the bundled scorer, a folder, or a hub id.

Source: Radford et al. (2021), "Learning transferable visual models from natural language
supervision", section 2.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional as F

from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.device import pick_device
from diffusion_bench.backends.library_messages import quiet_libraries, reason_of
from diffusion_bench.backends.model_facts import folder_revision
from diffusion_bench.backends.network_files import folder_of
from diffusion_bench.backends.scoring.scorers import BUNDLED_SCORER, scorer_repository
from diffusion_bench.records import MAX_SIDE

BATCH = 64
PREPROCESSOR = "preprocessor_config.json"


class ClipScorer:
    """A loaded CLIP on one device. Its features are of unit length.

    `folder` is where its files lie on this machine: of a hub id, the snapshot that was fetched.
    """

    def __init__(
        self, model: Any, tokenizer: Any, pixels: Pixels, *, name: str, folder: Path, device: str
    ) -> None:
        self.name = name
        self.folder = folder
        self.device = device
        self._model = model.eval().to(device)
        self._tokenizer = tokenizer
        self._pixels = pixels

    @classmethod
    def load(cls, name: str = BUNDLED_SCORER, *, device: str | None = None) -> ClipScorer:
        """Load the bundled scorer by its name, else a folder or hub id of a CLIP.

        A hub id may have a commit behind it (owner/name@commit). Raises `ModelUnavailable`, in one
        line, where its weights cannot be had or are no CLIP's. Only safetensors are read.
        """
        quiet_libraries()
        from transformers import AutoTokenizer, CLIPModel

        folder = folder_of(scorer_repository(name))
        try:
            if (kind := _read_settings(folder / "config.json").get("model_type")) != "clip":
                raise ValueError(f"it is no CLIP, but {str(kind)!r:.40}")
            pixels = Pixels.of(folder)
            model, info = CLIPModel.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
            if info["missing_keys"]:  # transformers fills them with random numbers
                raise ValueError(f"it lacks {', '.join(sorted(info['missing_keys'])[:3])}")
            tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = reason_of(error)
            raise ModelUnavailable(f"the scorer {name!r} cannot be loaded: {reason}") from error
        return cls(
            model,
            tokenizer,
            pixels,
            name=name,
            folder=folder,
            device=pick_device(device),
        )

    @property
    def digest(self) -> str:
        """Return the commit of a hub CLIP, or a digest of its folder's files."""
        if self.folder.parent.name == "snapshots":  # how the hub's cache lays a commit out
            return self.folder.name
        return folder_revision(self.folder)

    @torch.inference_mode()
    def features(self, images: Sequence[Image.Image]) -> Tensor:
        """Return (images, features) float32 on the CPU."""
        parts = [self._model.get_image_features(pixel_values=p) for p in self._batches(images)]
        return F.normalize(_pooled(parts), dim=-1).cpu()

    @torch.inference_mode()
    def caption_features(self, captions: Sequence[str]) -> Tensor:
        """Return (captions, features) float32 on the CPU. Long captions are cut."""
        tokens = self._tokenizer(
            list(captions),
            padding="max_length",
            truncation=True,
            max_length=self._model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self.device)
        told = self._model.get_text_features(
            input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
        )
        return F.normalize(_pooled([told]), dim=-1).cpu()

    def caption_scores(self, images: Sequence[Image.Image], captions: Sequence[str]) -> Tensor:
        """Return (images,): the cosine of each picture's features and its own caption's.

        Comparable between pictures judged by one scorer, not between scorers.
        """
        if len(images) != len(captions):
            raise ValueError(f"{len(images)} pictures and {len(captions)} captions; one each")
        return (self.features(images) * self.caption_features(captions)).sum(dim=-1)

    @torch.inference_mode()
    def states(self, images: Sequence[Image.Image]) -> Tensor:
        """Return the vision encoder's last states, (images, 1 + patches, width)."""
        parts = [
            self._model.vision_model(pixel_values=p).last_hidden_state
            for p in self._batches(images)
        ]
        return torch.cat(parts).float().cpu()

    def _batches(self, images: Sequence[Image.Image]) -> list[Tensor]:
        if not images:
            raise ValueError("there is no picture to score")
        return [
            self._pixels.read(images[start : start + BATCH]).to(self.device)
            for start in range(0, len(images), BATCH)
        ]


class Pixels:
    """How a CLIP wants its pictures: resized, cut to a square, normalised by channel."""

    def __init__(self, side: int, mean: Sequence[float], deviation: Sequence[float]) -> None:
        self.side = side
        self._mean = np.asarray(mean, dtype=np.float32)
        self._deviation = np.asarray(deviation, dtype=np.float32)

    @classmethod
    def of(cls, folder: Path) -> Pixels:
        """Return what a folder's `preprocessor_config.json` says.

        Raises OSError where there is none, ValueError where it cannot be used.
        """
        path = folder / PREPROCESSOR
        told = _read_settings(path)
        try:
            size = told["crop_size"] if told.get("do_center_crop") else told["size"]
            side = size if isinstance(size, int) else size.get("height") or size["shortest_edge"]
            mean, deviation = (
                [float(value) for value in told[name]] for name in ("image_mean", "image_std")
            )
            usable = 0 < int(side) <= MAX_SIDE and len(mean) == len(deviation) == 3
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path.name} does not say what a picture becomes") from error
        if not usable or min(deviation) <= 0:
            raise ValueError(f"{path.name} asks for pictures that no CLIP takes")
        return cls(int(side), mean, deviation)

    def read(self, images: Sequence[Image.Image]) -> Tensor:
        """Return (images, 3, side, side) float32."""
        return torch.from_numpy(np.stack([self._one(image) for image in images]))

    def _one(self, image: Image.Image) -> np.ndarray:
        scale = self.side / min(image.size)
        width, height = (max(self.side, round(edge * scale)) for edge in image.size)
        resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - self.side) // 2, (height - self.side) // 2
        square = resized.crop((left, top, left + self.side, top + self.side))
        pixels = np.asarray(square, dtype=np.float32) / 255
        return ((pixels - self._mean) / self._deviation).transpose(2, 0, 1)


def _read_settings(path: Path) -> dict[str, Any]:
    told = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(told, dict):
        raise ValueError(f"{path.name} holds no settings")
    return told


def _pooled(parts: Sequence[Any]) -> Tensor:
    """Return features as one tensor, from the outputs of transformers 4 or 5 alike."""
    return torch.cat([getattr(part, "pooler_output", part) for part in parts]).float()
