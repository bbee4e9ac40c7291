"""Reconstruct clients' images from their gradients while a diffusion prior denoises each iterate."""

from gradleak.commands.diffusion_reconstruct import main
from gradleak.plan import cli

if __name__ == "__main__":
    cli.run(main)
