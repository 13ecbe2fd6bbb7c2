"""The rival of contexts (claim a): one plain network, told the task by its code, that replays what it has seen.

Source: Prabhu et al. 2023 (arXiv 2303.11165), whose uniform replay no rival beats at a fixed budget of compute.
"""

from __future__ import annotations

import torch
from torch import nn

from agents.superposed_linear import random_codes

INPUTS, CODE, RATE = 4, 16, 1e-3


def replay(width: int, outputs: int, tasks: int, seed: int, steps: int) -> float:
    """Share of all answers right after the last task.

    The bits of width^2 weights are halved between a network and a reservoir of samples; Adam's moments come on top. A
    step takes the four samples of the task and four of the reservoir. With forward, backward and update that is some
    ten multiplications for each of the network's weights, about what the least change of SuperposedLinear costs once.
    RATE is the better of 1e-3 and 3e-3 on seeds 0 and 1.
    """
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(INPUTS, width, generator=rng).sign()
    answers = torch.randn(tasks, INPUTS, outputs, generator=rng).sign()
    told = torch.cat((x.expand(tasks, -1, -1), random_codes(tasks, CODE, seed)[:, None].expand(-1, INPUTS, -1)), -1)
    hidden, room = width // 2, width**2 // 2 // (width + CODE + outputs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(width + CODE, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
    adam, kept, seen = torch.optim.Adam(net.parameters(), RATE), torch.zeros(0, dtype=torch.long), 0
    xs, ys = told.flatten(0, 1), answers.flatten(0, 1)
    for task in range(tasks):
        new = torch.arange(INPUTS) + INPUTS * task
        for _ in range(steps):
            old = kept[torch.randint(max(1, len(kept)), (INPUTS * bool(len(kept)),), generator=rng)]
            batch = torch.cat((new, old))
            adam.zero_grad()
            nn.functional.soft_margin_loss(net(xs[batch]), ys[batch]).backward()
            adam.step()
        for sample in new:
            seen += 1
            place = int(torch.randint(seen, (1,), generator=rng))
            if len(kept) < room:
                kept = torch.cat((kept, sample[None]))
            elif place < room:
                kept[place] = sample
    with torch.no_grad():
        return float((net(xs).sign() == ys).float().mean())
