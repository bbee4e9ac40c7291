"""The result of a label method."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gradleak.clients.observation import Observation


@dataclass(frozen=True)
class LabelGuess:
    """A method's guess about a batch of B images from C classes.

    Attributes:
        presence: [C] bool, whether the batch is believed to hold the class.
        counts: [C] int64, believed number of instances per class by plain rounding, as published; None for
            methods that only restore presence. Their sum may differ from B.
        assignable_counts: [C] int64, non-negative and summing to B (largest remainder); what image
            reconstruction assigns as labels. None where counts is None.
        embeddings: [C, d] float64, the recovered mean embedding of each class, if the method recovers one.
        probabilities: [C, C] float64, row c is the recovered mean softmax output of class c, if recovered.
        restricted_to: [C] bool, the classes that the method chose from, because it knew that no other is in the batch;
            None for all classes. LnAcc is over these classes only.
        certified: [C] int64, instances per class that the method vouches for; None if it certifies nothing.
    """

    presence: Tensor
    counts: Tensor | None = None
    assignable_counts: Tensor | None = None
    embeddings: Tensor | None = None
    probabilities: Tensor | None = None
    restricted_to: Tensor | None = None
    certified: Tensor | None = None


LabelMethod = Callable[[Observation], LabelGuess]
"""A method gets only an Observation, so it cannot use the truth."""
