"""Proxy-anchor loss (Kim et al. 2020): each product's learned vector is an anchor for the whole batch."""

from __future__ import annotations

from keras import ops

from trainer.losses.batch_pairs import FAR_AWAY, LossFunction, Tensor


def proxy_anchor(margin: float = 0.1, scale: float = 32.0) -> LossFunction:
    """The loss on the cosines of `cosine_classifier`, whose columns are the proxies.

        loss = mean over products in the batch of  log(1 + sum_own    exp(-scale (cosine - margin)))
             + mean over all products of           log(1 + sum_others exp( scale (cosine + margin)))

    It belongs to the batch and not to a picture: the returned rows, shape (n,), are all the same.

    Args:
        margin: how far beyond a cosine of 0 pictures are pulled and pushed.
        scale: above 0; larger looks at the hardest pictures alone.
    """

    def loss(labels: Tensor, cosines: Tensor) -> Tensor:
        flat = ops.cast(ops.reshape(labels, (-1,)), "int32")  # (n,)
        own = ops.one_hot(flat, cosines.shape[1])  # (n, products)
        pull = ops.where(own > 0.0, -scale * (cosines - margin), -FAR_AWAY)  # (n, products)
        push = ops.where(own > 0.0, -FAR_AWAY, scale * (cosines + margin))  # (n, products)
        pulled = ops.softplus(ops.logsumexp(pull, axis=0))  # (products,), 0 for products not in the batch
        pushed = ops.softplus(ops.logsumexp(push, axis=0))  # (products,)
        present = ops.sum(ops.max(own, axis=0))
        return ops.zeros_like(cosines[:, 0]) + ops.sum(pulled) / present + ops.mean(pushed)

    return loss
