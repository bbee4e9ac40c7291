"""How many images go through a victim at once."""


def chunk_size(image_size: int) -> int:
    """Return how many images to put through a victim at once.

    The largest activations grow with the pixels: 64 images up to 80 px, then as many as have the pixels of
    those 64, so 8 at 224 px. Peak memory then hardly depends on the batch size, and a chunk is still large
    enough to keep the convolutions efficient.

    Args:
        image_size: height and width in pixels.
    """
    return max(1, min(64, 64 * 80**2 // image_size**2))
