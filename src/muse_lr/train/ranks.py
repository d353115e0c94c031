"""Parallel runs under torchrun: sums over ranks, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from muse_lr.utils.devices import find_device

#: How long ranks wait for each other: the first one tests the model while the others wait.
PATIENCE = timedelta(hours=12)


class Ranks:
    """The processes of a run; one process needs no set-up.

    Attributes
    ----------
    rank, size : int
    """

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.size > 1 and not dist.is_initialized():
            # No backend named: gloo for tensors on the CPU, nccl for those on a GPU.
            dist.init_process_group(timeout=PATIENCE)

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """The device of this rank for ``auto``, ``cpu``, ``cuda`` ..."""
        device = find_device(name)
        if device.type == "cuda":
            if self.size > 1 and device.index is None:
                device = find_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
            torch.cuda.set_device(device)
        return device

    def share(self, indices: list[int]) -> list[int]:
        """This rank's part of a global step."""
        return indices[self.rank :: self.size]

    def sum(self, values: Tensor) -> Tensor:
        """The sum of ``values`` over all ranks, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add the gradients of all ranks; a rank without any counts as zero."""
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
        """Let all ranks come to this point."""
        if self.size > 1:
            dist.barrier()

    def close(self) -> None:
        """End the parallel run."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()
