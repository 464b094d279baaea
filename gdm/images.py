"""What is known of a data set's images before any is read."""

from dataclasses import dataclass

from gdm.ranges import Count, Natural


@dataclass(frozen=True)
class ImageFacts:
    """The facts of a data set that shape a model's networks.

    Args:
        channels: C, channels of an image.
        resolution: R, pixels a side that networks see; images are padded to it.
        native_resolution: pixels a side of the images themselves.
        num_classes: number of classes; 0 for images without.

    Raises:
        ValueError: if images are larger than what networks see.
    """

    channels: Count
    resolution: Count
    native_resolution: Count
    num_classes: Natural = 0

    def __post_init__(self) -> None:
        if self.resolution < self.native_resolution:
            raise ValueError(
                f"resolution={self.resolution}: images of {self.native_resolution} pixels are "
                "padded to it, so it must be at least as large"
            )
