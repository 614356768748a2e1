"""The bundled models, one diffusers folder each, with its MODEL_CARD.md. No code."""
