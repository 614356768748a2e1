"""Pictures that a request starts from: an image to change, and the mask of what may change.

They travel beside the request; the request holds their digests, so that the work has a name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError

from diffusion_bench.records import ImageRequest

MAX_PIXELS = 64 * 2**20
KEPT_BELOW = 128  # of a mask's 0 to 255, as diffusers binarises it
SOFT_EDGE_PX = 4


class InputPictures(NamedTuple):
    """An image as RGB, and a mask as greys, white where the picture is to be drawn anew."""

    image: Any
    mask: Any | None = None

    def digests(self) -> dict[str, str | None]:
        """Return the fields of a request that name these pictures."""
        return {
            "image": picture_digest(self.image),
            "mask": None if self.mask is None else picture_digest(self.mask),
        }

    def named_in(self, request: ImageRequest) -> ImageRequest:
        """Return a request that names these pictures."""
        return ImageRequest.model_validate(request.model_dump() | self.digests())

    def fitted(self, width: int, height: int) -> InputPictures:
        """Return the pictures at a size, scaled to cover it and cut at the longer side.

        Raises ValueError where that leaves nothing of the mask's white.
        """
        image = ImageOps.fit(self.image, (width, height), Image.Resampling.LANCZOS)
        return InputPictures(image, self.fitted_mask(width, height))

    def fitted_mask(self, width: int, height: int) -> Any | None:
        """Return the mask at a size, black or white, `None` where there is none; see `fitted`.

        A pixel is white where it covers any of the white, so that no thin stroke is lost.
        """
        if self.mask is None:
            return None
        white = np.asarray(self.mask) >= KEPT_BELOW
        scale = max(width / self.mask.width, height / self.mask.height)
        white = _covering(white, height, height / scale)
        white = _covering(white.T, width, width / scale).T
        if not white.any():
            raise ValueError(
                f"scaled and cut to {width}x{height}, the mask has no white left: nothing is to be "
                "drawn; paint nearer to the middle, or ask for a size of the image's shape"
            )
        return Image.fromarray(np.where(white, 255, 0).astype(np.uint8))

    def kept(self, drawn: Sequence[Any]) -> list[Any]:
        """Return drawn pictures with what a mask keeps put back as it was: decoders change it.

        Within the mask, and nowhere beside it, the drawn picture fades in from the edge.
        """
        own = self.fitted(*drawn[0].size)
        if own.mask is None:
            return list(drawn)
        shares = _fading_in(own.mask)
        return [Image.composite(picture, own.image, shares) for picture in drawn]


def _fading_in(mask: Any) -> Any:
    """Return a mask, black or white, that grows from black to white over `SOFT_EDGE_PX` pixels.

    What is black stays black. A stroke too thin for the whole way is white along its middle, and
    the frame of the picture is no edge.
    """
    depth = np.zeros((mask.height, mask.width), np.uint8)
    inner = mask
    for _ in range(SOFT_EDGE_PX):
        depth += np.asarray(inner) > 0
        inner = inner.filter(ImageFilter.MinFilter(3))
    deepest = Image.fromarray(depth).filter(ImageFilter.MaxFilter(2 * SOFT_EDGE_PX - 1))
    shares = depth / np.maximum(np.asarray(deepest), 1)
    return Image.fromarray((255 * shares).round().astype(np.uint8))


def _covering(white: np.ndarray, count: int, kept: float) -> np.ndarray:
    """Return (count, columns): where any row is true that each of `count` equal parts touches.

    `white` is (rows, columns) bool, of whose rows the `kept` in the middle are shared out.
    """
    start = (len(white) - kept) / 2
    edges = np.linspace(start, start + kept, count + 1).round(6)  # whole where they should be
    sums = np.zeros((len(white) + 1, white.shape[1]), np.int32)
    np.cumsum(white, axis=0, out=sums[1:])
    starts, stops = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
    touched: np.ndarray = sums[stops] > sums[starts]
    return touched


def read_inputs(image: Path | Any, mask: Path | Any | None = None) -> InputPictures:
    """Return the pictures of files, or of PIL images; raise ValueError in one line.

    A mask must be as large as its image and white somewhere; what is transparent in an image is
    white.
    """
    picture = _upright(image, "image")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    found = picture.convert("RGB")
    if mask is None:
        return InputPictures(found)
    greys = _upright(mask, "mask").convert("L")
    if greys.size != found.size:
        raise ValueError(
            f"the mask is {greys.width}x{greys.height}, its image {found.width}x{found.height}: "
            "they must be of one size"
        )
    if greys.getextrema()[1] < KEPT_BELOW:
        raise ValueError("the mask is black: nothing is to be drawn; paint white what may change")
    return InputPictures(found, greys)


def _upright(source: Path | Any, what: str) -> Any:
    if isinstance(source, Image.Image):
        return _of_eight_bits(ImageOps.exif_transpose(source))
    with opened(Path(source), what) as picture:
        picture.load()
        return _of_eight_bits(ImageOps.exif_transpose(picture))


def _of_eight_bits(picture: Any) -> Any:
    """Return a picture of 16-bit greys in 8 bits: Pillow's own conversion cuts them off at 255."""
    if not picture.mode.startswith("I;16"):
        return picture
    return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))


@contextmanager
def opened(source: Path | IO[bytes], what: str) -> Iterator[Any]:
    """Open a picture of a size that is read, not decoded yet; raise ValueError in one line."""
    name = f"{what} {source.name}" if isinstance(source, Path) else what
    try:
        with Image.open(source) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{name}: larger than {MAX_PIXELS >> 20} megapixels")
            yield picture
    except UnidentifiedImageError:
        raise ValueError(f"{name}: no picture that can be read") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{name}: larger than {MAX_PIXELS >> 20} megapixels") from None
    except (OSError, SyntaxError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{name}: cannot be read: {reason:.200}") from None


def picture_digest(picture: Any) -> str:
    """Return 16 hexadecimal digits of a picture's mode, size and pixels, however it is stored."""
    found = hashlib.sha256(f"{picture.mode} {picture.width}x{picture.height}\n".encode())
    found.update(picture.tobytes())
    return found.hexdigest()[:16]


def check_inputs(request: ImageRequest, inputs: InputPictures | None) -> None:
    """Raise ValueError where a request and the pictures beside it do not belong together.

    Nor may the request's size leave nothing to be drawn of a mask.
    """
    if inputs is None:
        if request.image is not None:
            raise ValueError("this request starts from an image, which must come with it")
        return
    if inputs.digests() != {"image": request.image, "mask": request.mask}:
        raise ValueError("the image or mask is not the one that the request names by its digest")
    inputs.fitted_mask(request.width, request.height)
