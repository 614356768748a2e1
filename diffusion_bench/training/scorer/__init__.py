"""How the bundled scorer was made: a small CLIP that knows the words of the image model."""
