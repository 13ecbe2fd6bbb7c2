"""Shared by all tests: one thread a process, because pytest-xdist uses the cores already."""

import torch

torch.set_num_threads(1)
