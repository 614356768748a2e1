"""What happens inside a picture: its noising, each denoising step, the network, the guidance."""
