"""Muon: momentum whose matrix updates are made orthogonal by a Newton-Schulz iteration."""
import torch


@torch.compile
def orthogonalise(updates, steps=5):
    """updates [n, rows, cols], rows <= cols, in bfloat16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = updates.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return x


class Muon(torch.optim.Optimizer):
    """For the matrices inside the blocks; same-shaped ones are handled in one batch."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.01):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))
        self.batches = {}
        for p in self.param_groups[0]["params"]:
            self.batches.setdefault(tuple(p.shape), []).append(p)

    @torch.no_grad()
    def step(self):
        group = self.param_groups[0]
        lr, momentum = group["lr"], group["momentum"]
        for (rows, cols), params in self.batches.items():
            grads = torch.stack([p.grad for p in params])
            state = self.state[params[0]]
            if not state:
                state["momentum"] = torch.zeros_like(grads)
            buffer = state["momentum"]
            buffer.lerp_(grads, 1 - momentum)
            update = grads.lerp(buffer, momentum)                 # Nesterov
            update = orthogonalise(update.mT.contiguous()).mT if rows > cols else orthogonalise(update)
            scale = max(1, rows / cols) ** 0.5
            torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
            torch._foreach_add_(params, list((update.float() * (-lr * scale)).unbind()))
