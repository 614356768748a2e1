"""What a denoiser returns, in the form that its pipeline asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_asked(prediction: Any, named: Mapping[str, Any]) -> Any:
    """Return the only result of a call as diffusers' networks do, by the call's `return_dict`.

    Most pipelines ask for a tuple; some older ones read `.sample`.
    """
    if named.get("return_dict") is False:
        return (prediction,)
    from diffusers.models.modeling_outputs import Transformer2DModelOutput

    return Transformer2DModelOutput(sample=prediction)
