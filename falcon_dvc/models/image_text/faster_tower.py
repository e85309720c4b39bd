"""Make a ResNet image tower of open_clip faster, for inference; it computes the same function.

Attention pooling has one query, the mean over all positions. open_clip projects every position to a key and a value all the
same. Here, the query is projected to the positions, and the pooled position to the value:

    softmax_t((W_q m + b_q) . (W_k x_t + b_k)) = softmax_t((W_k^T (W_q m + b_q)) . x_t)       b_k adds the same to all t
    sum_t a_t (W_v x_t + b_v)                  = W_v (sum_t a_t x_t) + b_v                     as the a_t sum to 1

Batch normalisation is merged into the convolution before it.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse


class OneQueryPool(nn.Module):
    """Pool maps as open_clip's ``AttentionPool2d`` does, with its weights."""

    def __init__(self, pool: Any) -> None:
        super().__init__()
        self.pool, self.heads = pool, pool.num_heads

    def forward(self, maps: Float[Tensor, "images channels rows columns"]) -> Float[Tensor, "images dim"]:
        """Return one vector for each image."""
        pool = self.pool
        cells = maps.flatten(2).transpose(1, 2)
        cells = torch.cat([cells.mean(dim=1, keepdim=True), cells], dim=1) + pool.positional_embedding
        query = pool.q_proj(cells[:, 0]).unflatten(1, (self.heads, -1))
        key, value = (projection.weight.unflatten(0, (self.heads, -1)) for projection in (pool.k_proj, pool.v_proj))
        towards = torch.einsum("nhd,hdc->nhc", query, key) * query.shape[-1] ** -0.5
        attention = torch.softmax(torch.bmm(towards, cells.transpose(1, 2)), dim=-1)
        pooled = torch.einsum("nhc,hdc->nhd", torch.bmm(attention, cells), value).flatten(1)
        return pool.c_proj(pooled + pool.v_proj.bias)


def faster(tower: Any) -> nn.Module:
    """Return an image tower that computes the same, up to rounding.

    Parameters
    ----------
    tower : open_clip.modified_resnet.ModifiedResNet
        In evaluation mode; its pool is replaced.
    """
    tower.attnpool = OneQueryPool(tower.attnpool)
    return fuse(tower)
