"""The fast path: options set on diffusers' own pipeline, and which of them to take here."""
