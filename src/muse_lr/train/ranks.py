"""Parallel runs with torchrun: sums over the ranks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from muse_lr.utils.devices import find_device

#: Timeout of the ranks; the first rank evaluates the test sets while the others wait.
PATIENCE = timedelta(hours=12)


class Ranks:
    """The processes of a run; a single process needs no setup.

    Attributes
    ----------
    rank, size : int
        Index of this process and number of processes.
    """

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.size > 1 and not dist.is_initialized():
            # Without an explicit backend, torch uses gloo for CPU tensors and nccl for GPU tensors.
            dist.init_process_group(timeout=PATIENCE)

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """Device of this rank, for a name such as ``auto``, ``cpu`` or ``cuda``."""
        device = find_device(name)
        if device.type == "cuda":
            if self.size > 1 and device.index is None:
                device = find_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
            torch.cuda.set_device(device)
        return device

    def share(self, indices: list[int]) -> list[int]:
        """Part of the batch that this rank computes."""
        return indices[self.rank :: self.size]

    def sum(self, values: Tensor) -> Tensor:
        """Sum ``values`` over all ranks, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients over all ranks; missing gradients count as zero."""
        if self.size == 1:
            return
        chosen = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in chosen:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([p.grad.flatten() for p in chosen if p.grad is not None])
        dist.all_reduce(flat)
        offset = 0
        for parameter in chosen:
            count = parameter.numel()
            parameter.grad = flat[offset : offset + count].view_as(parameter).clone()
            offset += count

    def wait(self) -> None:
        """Wait until all ranks reach this point."""
        if self.size > 1:
            dist.barrier()

    def close(self) -> None:
        """End the parallel run."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()
