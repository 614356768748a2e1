"""How the bundled image model was made."""
