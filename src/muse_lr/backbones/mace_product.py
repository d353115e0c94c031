"""The product basis of MACE, evaluated through pairs of features.

mace-torch contracts its U matrices with the features first, which makes some 200 kB of
intermediates for each atom of a usual model. Here the weights come first: with them a U matrix is a
polynomial for each element and channel, and what is made for each atom are the products of two
features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class ProductBasis(nn.Module):
    r"""Polynomials of the features of a node, with weights for each element.

    .. math:: B_{cm} = \sum_e y_e \sum_\nu \sum_{k, i_1 \dots i_\nu} U^\nu_{m i_1 \dots i_\nu k} \,
              w^\nu_{ekc} \, x_{ci_1} \cdots x_{ci_\nu}

    for each order of the output, with components m (I. Batatia et al., arXiv:2206.07697, eqs. 10
    and 11), evaluated as

    .. math:: B_{cm} = \sum_e y_e \Big[ \sum_i W^1_{ecim} x_{ci} + \sum_{\nu > 1} \sum_t \Big(
              \sum_{i \le j} W^\nu_{ecijmt} \, x_{ci} x_{cj} \Big) \tau^\nu_{ct} \Big]

    where W = U w, and the rest :math:`\tau^\nu` of a product is 1 for :math:`\nu = 2`, the features
    for 3, their pairs for 4. Each element takes the nodes that have some of it, so that the cost
    does not grow with the number of elements when each node is an atom.

    Parameters
    ----------
    basis : mace.modules.SymmetricContraction
        Its U matrices and weights are used, and keep their names.
    """

    first: Tensor
    second: Tensor

    def __init__(self, basis: Any) -> None:
        super().__init__()
        self.contractions: nn.ModuleList = basis.contractions
        self.correlation: int = basis.contractions[0].correlation
        self.components = [irrep.ir.dim for irrep in basis.irreps_out]
        width = basis.contractions[0].U_matrix_1.shape[-2]
        first, second = torch.triu_indices(width, width)
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)

    def forward(self, features: Tensor, composition: Tensor) -> Tensor:
        """Products of the nodes.

        Parameters
        ----------
        features : Tensor
            (n_nodes, channels, d).
        composition : Tensor
            (n_nodes, n_elements).

        Returns
        -------
        Tensor
            (n_nodes, channels * sum of 2l + 1), for each l a block of (channels, 2l + 1).
        """
        # An element that a node has nothing of is left out with its derivative: it comes and goes
        # with two derivatives that vanish.
        element, node = composition.detach().t().nonzero(as_tuple=True)
        counts = torch.bincount(element, minlength=composition.shape[1]).tolist()
        groups = features.index_select(0, node).split(counts)
        parts = [self._of_element(x, e) for e, x in enumerate(groups) if len(x)]
        products = features.new_zeros(*features.shape[:2], sum(self.components))
        if parts:
            amount = composition[node, element]
            products = products.index_add(0, node, torch.cat(parts) * amount[:, None, None])
        blocks = products.split(self.components, dim=-1)
        return torch.cat([block.flatten(1) for block in blocks], dim=-1)

    def _of_element(self, x: Tensor, element: int) -> Tensor:
        """(n, channels, m) of nodes that are one element alone, from (n, channels, d)."""
        by_channel = x.transpose(0, 1)
        products = torch.bmm(by_channel, self._coefficients(1, element).flatten(2))
        if self.correlation > 1:
            pairs = x.index_select(2, self.first) * x.index_select(2, self.second)
            pairs = pairs.transpose(0, 1)
            rests = (None, by_channel, pairs)[: self.correlation - 1]
            coefficients = [self._coefficients(2 + n, element) for n in range(len(rests))]
            # All at once, for reading the pairs is what takes time.
            sums = torch.bmm(pairs, torch.cat([c.flatten(2) for c in coefficients], dim=-1))
            widths = [c.shape[2] * c.shape[3] for c in coefficients]
            for part, rest in zip(sums.split(widths, dim=-1), rests, strict=True):
                if rest is not None:
                    part = (part.unflatten(-1, (products.shape[-1], -1)) * rest[:, :, None]).sum(-1)
                products = products + part
        return products.transpose(0, 1)

    def _coefficients(self, nu: int, element: int) -> Tensor:
        """(channels, d or pairs, m, rest) of the polynomial of degree ``nu`` of an element."""
        lower = self.correlation - 1 - nu
        blocks = []
        contraction: Any
        for contraction, components in zip(self.contractions, self.components, strict=True):
            weights = contraction.weights_max if lower < 0 else contraction.weights[lower]
            basis = getattr(contraction, f"U_matrix_{nu}")
            basis = basis.reshape(components, *basis.shape[-nu - 1 :])
            blocks.append(self._by_pairs(basis, nu) @ weights[element])
        return torch.cat(blocks, dim=1).permute(3, 0, 1, 2)

    def _by_pairs(self, basis: Tensor, nu: int) -> Tensor:
        """(d or pairs, m, rest, k) of a U matrix (m, d, ..., d, k) with ``nu`` axes of d."""
        if nu > 1:
            basis = self._join(basis, 1)
        if nu > 3:
            basis = self._join(basis, 2)
        return basis.transpose(0, 1).reshape(basis.shape[1], basis.shape[0], -1, basis.shape[-1])

    def _join(self, basis: Tensor, axis: int) -> Tensor:
        """Two neighbouring axes, of which products see the symmetric part, as one of pairs."""
        basis = basis.movedim((axis, axis + 1), (-2, -1))
        pairs = basis[..., self.first, self.second] + basis[..., self.second, self.first]
        pairs = pairs * torch.where(self.first == self.second, 0.5, 1.0).to(basis)
        return pairs.movedim(-1, axis)
