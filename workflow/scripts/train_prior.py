"""Train a small diffusion prior (UNet2DModel, DDPM) on images that no client holds."""

from gradleak.commands.train_prior import main
from gradleak.plan import cli

if __name__ == "__main__":
    cli.run(main)
