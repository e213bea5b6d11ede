"""Training of a classifier of MNIST in torch."""

import math
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from trainings import Recipe, Trained, seconds_since_start


class RowClassifier(nn.Module):
    """Row LSTM or Row GRU, with the initial weights of rowrnn's."""

    def __init__(self, cell: str, recipe: Recipe) -> None:
        super().__init__()
        hidden, self.dropout = recipe.size, recipe.dropout
        self.layer = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](28, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 10)
        with torch.no_grad():
            nn.init.trunc_normal_(self.layer.weight_ih_l0, std=28**-0.5, a=-2 * 28**-0.5, b=2 * 28**-0.5)
            for block in self.layer.weight_hh_l0.split(hidden):
                nn.init.orthogonal_(block)
            for bias in (self.layer.bias_ih_l0, self.layer.bias_hh_l0, self.head.bias):
                bias.zero_()
            if cell == "lstm":
                self.layer.bias_ih_l0[hidden : 2 * hidden] = 1
            nn.init.trunc_normal_(self.head.weight, std=hidden**-0.5, a=-2 * hidden**-0.5, b=2 * hidden**-0.5)

    def forward(self, images: Any) -> Any:
        """Computes logits of images `[b, 28, 28]`."""
        last = self.layer(images)[0][:, -1]
        return self.head(F.dropout(last, self.dropout, self.training))


def cnn(recipe: Recipe) -> nn.Module:
    """Returns a CNN of three convolutions, each with batch normalization and pooling, in memory with channels last.

    With 64 channels in the last one it has 29,290 parameters.
    """
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 28))]
    before = 1
    for channels in (recipe.size // 4, recipe.size // 2, recipe.size):
        convolution = nn.Conv2d(before, channels, 3, padding=1, bias=False)
        # Pooled first: batch normalization and ReLU then have a quarter of the places.
        layers += [convolution, nn.MaxPool2d(2), nn.BatchNorm2d(channels), nn.ReLU()]
        before = channels
    layers += [nn.Flatten(), nn.Dropout(recipe.dropout), nn.Linear(9 * recipe.size, 10)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def train_in_torch(model: str, recipe: Recipe, seed: int, splits: str) -> Trained:
    """Trains a Row LSTM or Row GRU, or a CNN; the data set is in memory.

    Learning rate and momentum of a CNN follow the one-cycle schedule (Smith & Topin 2019) of torch.
    """
    torch.manual_seed(seed)
    with np.load(splits) as arrays:
        images, test_images = (torch.from_numpy(arrays[f"{n}_images"])[..., 0].float() / 255 for n in ("train", "test"))
        labels, test_labels = (torch.from_numpy(arrays[f"{n}_labels"]).long() for n in ("train", "test"))
    network = cnn(recipe) if model == "cnn" else RowClassifier(model, recipe)
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
        fused=True,
    )
    steps = len(images) // recipe.batch
    rise = max(1, round(recipe.warmup * steps * recipe.epochs))

    def rate(step: int) -> float:
        if step < rise:
            return step / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps * recipe.epochs - rise)))

    schedules = torch.optim.lr_scheduler
    if model == "cnn":
        cycle = {"max_lr": recipe.learning_rate, "pct_start": recipe.warmup}
        schedule = schedules.OneCycleLR(optimizer, total_steps=steps * recipe.epochs, **cycle)
    else:
        schedule = schedules.LambdaLR(optimizer, rate)

    def shifted(x: Any) -> Any:
        if recipe.shift == 0:
            return x
        theta = torch.zeros(len(x), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = 1
        theta[:, :, 2] = (2 * torch.rand(len(x), 2) - 1) * recipe.shift * 2 / 27
        grid = F.affine_grid(theta, [len(x), 1, 28, 28], align_corners=True)
        return F.grid_sample(x[:, None], grid, align_corners=True)[:, 0]

    first, started = seconds_since_start(), time.perf_counter()
    seconds, accuracies = [], []
    for _ in range(recipe.epochs):
        for chosen in torch.randperm(len(images))[: steps * recipe.batch].split(recipe.batch):
            optimizer.zero_grad()
            F.cross_entropy(network(shifted(images[chosen])), labels[chosen]).backward()
            nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.inference_mode():
            answers = torch.cat([network(part).argmax(-1) for part in test_images.split(500)])
        network.train()
        accuracies.append((answers == test_labels).double().mean().item())
        seconds.append(time.perf_counter() - started)
    return first, seconds, accuracies
