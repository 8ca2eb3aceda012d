"""Memory of a recurrent policy: a gated recurrent unit (Cho et al. 2014) between node embeddings and heads.

The same weights serve every node and agent, so that policies stay equivariant and fit any number of books. Ours rather
than `torch.nn.GRU`, to which it is equal (tested), because environments start new episodes in the middle of a sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .heads import flat_linear


class Memory(nn.Module):
    """r, z = sigmoid(W x + U h); n = tanh(W_n x + r * (U_n h)); h' = (1 - z) n + z h, W and U with biases."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.input, self.state = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, 3 * hidden)
        for layer in (self.input, self.state):
            for gate in layer.weight.split(hidden):
                nn.init.orthogonal_(gate)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, state: Tensor, fresh: Tensor) -> tuple[Tensor, Tensor]:
        """Run over sequences of T steps in B environments, sample t * B + b.

        x: (K, N, T * B, H); state: (K, N, B, H) before the first step; fresh: (T * B,) bool, zeroes the state first.
        Returns the states of all steps (K, N, T * B, H), and the last (K, N, B, H).
        """
        k, n, samples, h = x.shape
        envs = state.shape[2]
        steps = samples // envs
        keep = (~fresh).to(state.dtype).view(steps, envs, 1)
        # unbind, not indexing: the gradients of slices are padded with zeros to the full size and added up
        # float: the state is summed up over an episode, also where the products are of bfloat16
        given = flat_linear(self.input, x).float().view(k, n, steps, envs, 3 * h).unbind(2)
        states = []
        for t in range(steps):
            state = self._cell(given[t], state * keep[t])
            states.append(state)
        return torch.stack(states, 2).view(k, n, samples, h), state

    def step(self, x: Tensor, state: Tensor, fresh: Tensor) -> Tensor:
        """One step of `forward`: x (K, N, B, H), state (K, N, B, H), fresh (B,) bool. Returns the new state."""
        return self._cell(flat_linear(self.input, x).float(), state * (~fresh).to(state.dtype).unsqueeze(-1))

    def _cell(self, given: Tensor, state: Tensor) -> Tensor:
        """given: W x with its biases, (..., 3 H)."""
        h = self.hidden
        own = flat_linear(self.state, state).float()
        reset, update = torch.sigmoid(given[..., : 2 * h] + own[..., : 2 * h]).chunk(2, -1)
        new = torch.tanh(given[..., 2 * h :] + reset * own[..., 2 * h :])
        return torch.lerp(new, state, update)
