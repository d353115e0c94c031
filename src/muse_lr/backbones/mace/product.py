"""The product basis of MACE, evaluated through products of pairs of features.

mace-torch contracts its U matrices with the features first. For each atom of a typical model this
creates several intermediates of 200 kB and more. Here the U matrices are contracted with the
weights first, which gives a polynomial for each element and channel. The intermediates of each atom
are then only the products of two features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from muse_lr.structures.host_tables import fixed_number


class ProductBasis(nn.Module):
    r"""Polynomials of the features of a node, with weights of each element.

    .. math:: B_{cm} = \sum_e y_e \sum_\nu \sum_{k, i_1 \dots i_\nu} U^\nu_{m i_1 \dots i_\nu k} \,
              w^\nu_{ekc} \, x_{ci_1} \cdots x_{ci_\nu}

    for each order of the output with components m (I. Batatia et al., arXiv:2206.07697, eqs. 10
    and 11), evaluated as

    .. math:: B_{cm} = \sum_e y_e \Big[ \sum_i W^1_{ecim} x_{ci} + \sum_{\nu > 1} \sum_t \Big(
              \sum_{i \le j} W^\nu_{ecijmt} \, x_{ci} x_{cj} \Big) \tau^\nu_{ct} \Big].

    W is U w, with the terms of (i, j) and (j, i) added. The other factor :math:`\tau^\nu` of a
    product is 1 for :math:`\nu = 2`, the features for 3 and their pairs for 4. Atoms are grouped by
    element, so that the cost does not grow with the number of elements. For nodes with mixed
    composition, the cost is proportional to the number of elements that are present.

    Parameters
    ----------
    basis : mace.modules.SymmetricContraction
        Block of mace-torch with the U matrices and weights, which keep their names.
    """

    first: Tensor
    second: Tensor

    def __init__(self, basis: Any) -> None:
        super().__init__()
        self.contractions: nn.ModuleList = basis.contractions
        self.correlation: int = basis.contractions[0].correlation
        self.components = [irrep.ir.dim for irrep in basis.irreps_out]
        linear = basis.contractions[0].U_matrix_1
        one, other = torch.triu_indices(linear.shape[-2], linear.shape[-2])
        # Both features of each pair, selected by products with columns of the unit matrix. The
        # backward pass of an index would add many values to one place.
        unit = torch.eye(linear.shape[-2], dtype=linear.dtype)
        self.register_buffer("first", unit[:, one], persistent=False)
        self.register_buffer("second", unit[:, other], persistent=False)
        for number, contraction in enumerate(basis.contractions):
            for nu in range(1, self.correlation + 1):
                u = getattr(contraction, f"U_matrix_{nu}")
                u = u.reshape(self.components[number], *u.shape[-nu - 1 :])
                by_pairs = _by_pairs(u, nu, one, other)
                self.register_buffer(f"basis_{number}_{nu}", by_pairs, persistent=False)

    def forward(
        self,
        features: Tensor,
        composition: Tensor,
        rows: Sequence[Tensor] | None = None,
        every: bool = False,
    ) -> Tensor:
        """Evaluate the polynomials of the nodes.

        Parameters
        ----------
        features : Tensor
            (n_nodes, channels, d).
        composition : Tensor
            (n_nodes, n_elements). Elements that no node has are skipped, including their
            derivatives. If every node is of one element, the derivatives by the other entries of
            its composition are skipped too.
        rows : sequence of Tensor, optional
            (n_e,) nodes of each element, if every node is of one element.
        every : bool
            Whether to include the elements that no node has.

        Returns
        -------
        Tensor
            (n_nodes, channels * sum of 2l + 1), for each l a block of (channels, 2l + 1).
        """
        if rows is not None:
            return self._joined(self._of_rows(features, rows))
        if every:
            elements = range(composition.shape[1])
            return self._joined(self._of_mixed(features, composition, elements))
        element, node = composition.detach().t().nonzero(as_tuple=True)
        counts = torch.bincount(element, minlength=composition.shape[1]).tolist()
        present = [e for e, count in enumerate(counts) if count]
        if len(node) > len(features):
            return self._joined(self._of_mixed(features, composition, present))
        products = features.new_zeros(*features.shape[:2], sum(self.components))
        amount = composition[node, element]
        groups = features.index_select(0, node).split([counts[e] for e in present])
        each = self._by_element(present)
        parts = [self._products(x, c) for x, c in zip(groups, each, strict=True)]
        if parts:
            products = products.index_add(0, node, torch.cat(parts) * amount[:, None, None])
        return self._joined(products)

    def _of_rows(self, features: Tensor, rows: Sequence[Tensor]) -> Tensor:
        """(n_nodes, channels, m) polynomials of nodes of one element each."""
        present = [e for e, nodes in enumerate(rows) if not fixed_number(nodes.shape[0], 0)]
        if not present:
            return features.new_zeros(*features.shape[:2], sum(self.components))
        order = torch.cat([rows[e] for e in present])
        groups = features.index_select(0, order).split([rows[e].shape[0] for e in present])
        each = self._by_element(present)
        parts = [self._products(x, c) for x, c in zip(groups, each, strict=True)]
        products = features.new_zeros(*features.shape[:2], sum(self.components))
        return products.index_copy(0, order, torch.cat(parts))

    def _of_mixed(self, features: Tensor, composition: Tensor, elements: Sequence[int]) -> Tensor:
        """(n_nodes, channels, m) polynomials of nodes with any composition of the elements."""
        products = features.new_zeros(*features.shape[:2], sum(self.components))
        pairs = self._pairs(features)
        for e, c in zip(elements, self._by_element(elements), strict=True):
            of_element = self._products(features, c, pairs)
            products = products + composition[:, e, None, None] * of_element
        return products

    def _joined(self, products: Tensor) -> Tensor:
        """(n_nodes, channels, m) -> (n_nodes, channels * m), for each l a block of its own."""
        blocks = products.split(self.components, dim=-1)
        return torch.cat([block.flatten(1) for block in blocks], dim=-1)

    def _by_element(self, elements: Sequence[int]) -> list[list[Tensor]]:
        """Coefficients of every degree, for each element."""
        chosen = list(elements)
        coefficients = [self._coefficients(nu, chosen) for nu in range(1, self.correlation + 1)]
        return [[c[k] for c in coefficients] for k in range(len(chosen))]

    def _pairs(self, x: Tensor) -> Tensor:
        """(n, channels, pairs) products of two features."""
        return (x @ self.first) * (x @ self.second)

    def _products(
        self, x: Tensor, coefficients: list[Tensor], pairs: Tensor | None = None
    ) -> Tensor:
        """(n, channels, m) polynomials of (n, channels, d) features for a single element."""
        by_channel = x.transpose(0, 1)
        products = torch.bmm(by_channel, coefficients[0].flatten(2))
        if self.correlation > 1:
            pairs = (self._pairs(x) if pairs is None else pairs).transpose(0, 1)
            rests = (None, by_channel, pairs)[: self.correlation - 1]
            # In one product, since reading the pairs takes most of the time.
            sums = torch.bmm(pairs, torch.cat([c.flatten(2) for c in coefficients[1:]], dim=-1))
            widths = [c.shape[2] * c.shape[3] for c in coefficients[1:]]
            for part, rest in zip(sums.split(widths, dim=-1), rests, strict=True):
                if rest is not None:
                    part = (part.unflatten(-1, (products.shape[-1], -1)) * rest[:, :, None]).sum(-1)
                products = products + part
        return products.transpose(0, 1)

    def _coefficients(self, nu: int, elements: list[int]) -> Tensor:
        """(elements, channels, d or pairs, m, rest) coefficients of degree ``nu``."""
        lower = self.correlation - 1 - nu
        blocks = []
        contraction: Any
        for number, contraction in enumerate(self.contractions):
            weights = contraction.weights_max if lower < 0 else contraction.weights[lower]
            basis = getattr(self, f"basis_{number}_{nu}")
            blocks.append(torch.einsum("pmrk,ekc->ecpmr", basis, weights[elements]))
        return torch.cat(blocks, dim=3)


def _by_pairs(u: Tensor, nu: int, one: Tensor, other: Tensor) -> Tensor:
    """Rearrange a U matrix (m, d, ..., d, k) with ``nu`` axes d to (d or pairs, m, rest, k)."""
    if nu > 1:
        u = _join(u, 1, one, other)
    if nu > 3:
        u = _join(u, 2, one, other)
    return u.transpose(0, 1).reshape(u.shape[1], u.shape[0], -1, u.shape[-1]).clone()


def _join(u: Tensor, axis: int, one: Tensor, other: Tensor) -> Tensor:
    """Replace two neighboring axes by one of pairs; only the symmetric part matters."""
    u = u.movedim((axis, axis + 1), (-2, -1))
    pairs = u[..., one, other] + u[..., other, one]
    pairs = pairs * torch.where(one == other, 0.5, 1.0).to(u)
    return pairs.movedim(-1, axis)
