"""The mean embedding of each class from the gradient of the last layer."""

import torch
from torch import Tensor

_ZERO_BIAS = 1e-64
_MAX_DECADES = 10.0


def recover_embeddings(weight_gradient: Tensor, bias_gradient: Tensor) -> Tensor:
    """Recover the mean embedding of each class, dL/dW[c] / dL/db[c] (Ma et al., ICLR 2023, section 3).

    A bias gradient of 0 counts as 1e-64, and the decimal exponent of a quotient is limited as in the released
    code: exponent of numerator minus exponent of denominator at most 10. Its lower limit, -10, is left out,
    because it moves an entry by less than 1e-9, which no count can feel.

    Args:
        weight_gradient: [C, d], finite.
        bias_gradient: [C], finite.

    Returns:
        [C, d] float64, finite.
    """
    weight, bias = weight_gradient.double(), bias_gradient.double()[:, None]
    bias = torch.where(bias == 0, _ZERO_BIAS, bias)
    quotient = weight / bias
    # An exponent difference above 10 implies a quotient above 1e10, so that the logarithms, which cost more
    # than everything else here, are needed for a few entries only.
    rows, columns = torch.nonzero(quotient.abs() > 10.0**_MAX_DECADES, as_tuple=True)
    if len(rows):
        numerator, denominator = weight[rows, columns], bias[rows, 0]
        decades = numerator.abs().log10().floor() - denominator.abs().log10().floor()
        excess = (decades - _MAX_DECADES).clamp(min=0)
        quotient[rows, columns] *= torch.pow(10.0, -excess)
    return quotient
