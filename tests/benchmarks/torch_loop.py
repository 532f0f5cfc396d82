"""The same model and training step in plain PyTorch.

step.py compares with them, and external/torch_tdnn_lstm.py trains with them.
"""

import math
import time

import torch
import torch.nn.functional as F
from torch import nn


class Reverse(torch.autograd.Function):
    """Gradient reversal."""

    @staticmethod
    def forward(ctx, z, lam):
        ctx.lam = lam
        return z.view_as(z)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.lam * gradient, None


class Network(nn.Module):
    """TDNN (convolutions) + LSTM + statistics pooling, an emotion head and a domain head."""

    def __init__(self, bands, tdnn, width, hidden, dim, domain_hidden, emotions, domains, dropout):
        super().__init__()
        layers, channels = [], bands
        for kernel, dilation, stride in tdnn:
            padding = (kernel - 1) * dilation // 2
            layers += [
                nn.Conv1d(channels, width, kernel, stride, padding, dilation, bias=False),
                nn.BatchNorm1d(width),
                nn.ReLU(),
            ]
            channels = width
        self.tdnn = nn.Sequential(*layers)
        self.lstm = nn.LSTM(width, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.embed = nn.Sequential(
            nn.Linear(2 * hidden, dim, bias=False),
            nn.BatchNorm1d(dim),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.emotion = nn.Linear(dim, emotions)
        self.domain = nn.Sequential(
            nn.Linear(dim, domain_hidden), nn.ReLU(), nn.Linear(domain_hidden, domains)
        )

    def represent(self, mel_BxTxM):
        """Returns z_BxD."""
        h_BxTxH, _ = self.lstm(self.tdnn(mel_BxTxM.transpose(1, 2)).transpose(1, 2))
        pooled = torch.cat([h_BxTxH.mean(1), (h_BxTxH.var(1, unbiased=False) + 1e-5).sqrt()], -1)
        return self.embed(self.dropout(pooled))

    def forward(self, mel_BxTxM, lam):
        """Returns the scores of the emotions and those of the domains."""
        z_BxD = self.represent(mel_BxTxM)
        return self.emotion(z_BxD), self.domain(Reverse.apply(z_BxD, lam))


def mask(mel_BxTxM: torch.Tensor, axis: int, share: float) -> torch.Tensor:
    """Sets two stripes of every example to zero (SpecAugment), along axis 1 (time) or 2 (band)."""
    B, n = mel_BxTxM.shape[0], mel_BxTxM.shape[axis]
    width = torch.rand(B, 2, 1, device=mel_BxTxM.device) * share * n
    start = torch.rand(B, 2, 1, device=mel_BxTxM.device) * (n - width)
    position = torch.arange(n, device=mel_BxTxM.device) + 0.5
    keep = 1.0 - ((position >= start) & (position < start + width)).any(1).float()
    return mel_BxTxM * (keep[:, :, None] if axis == 1 else keep[:, None, :])


def make_optimiser(network: nn.Module, warmup: float, steps: int):
    """Returns AdamW, and its schedule: a rise over `warmup` steps, then half a cosine."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)

    def rate(n: int) -> float:
        if n < warmup:
            return n / warmup
        return 0.5 * (1 + math.cos(math.pi * (n - warmup) / (steps - warmup)))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, rate)


class Loop:
    """The training loop of one run on batches that are already in memory."""

    def __init__(self, batches, sizes, model, train, steps, compiled: bool):
        torch.manual_seed(0)
        torch.set_float32_matmul_precision('high')  # TF32 on a GPU, as is JAX's default
        self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.batches = []
        for batch in batches:
            tensors = {k: torch.from_numpy(v).to(self.device) for k, v in batch.items()}
            self.batches.append(tensors)
        network = Network(dropout=0.1, **sizes, **model).to(self.device).train()
        self.network = torch.compile(network) if compiled else network
        self.optimiser, self.schedule = make_optimiser(self.network, steps * train['warmup'], steps)
        self.clip = train['clip']
        self.steps = steps
        self.finished_steps = 0

    def step(self):
        """Makes one update by the emotion loss and the reversed domain loss."""
        batch = self.batches[self.finished_steps % len(self.batches)]
        mel = (batch['mel'].float() - batch['mean'][:, None]) * batch['scale'][:, None]
        mel = mask(mask(mel, 1, 0.1), 2, 0.1)
        lam = 0.3 * math.tanh(5 * self.finished_steps / self.steps)
        emotion, domain = self.network(mel, lam)
        loss = F.cross_entropy(emotion, batch['emotion']) + F.cross_entropy(
            domain, batch['speaker']
        )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimiser.step()
        self.schedule.step()
        self.finished_steps += 1
        return loss

    def time(self, steps: int) -> float:
        """Runs so many steps and returns the seconds per step."""
        began = time.perf_counter()
        for _ in range(steps):
            self.step()
        if self.device == 'cuda':
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / steps
