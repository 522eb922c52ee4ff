#!/usr/bin/env python3
"""Times the network of Table 1 (Gillet et al. 2019) in PyTorch; prints JSON.

A step is what it is for dawn21: reading images from memory-mapped cubes, clipping and scaling, forward pass,
and in training loss, backward pass and RMSprop.

    python benches/peers/pytorch.py --data DATA [--mode training|inference] [--layout nchw|channels_last]
        [--compile] [--chunk N] [--batch N] [--image ROWS,COLUMNS] [--steps N] [--threads N]
"""

import numpy as np
import torch
from torch import nn

from light_cones import CLIP_MK, LightCones, arguments, image_shape, measure


def network(rows, columns):
    """Table 1 as dawn21's preset `gillet2019` has it."""
    rows, columns = (((n - 9) // 2 - 9) // 2 for n in (rows, columns))
    return nn.Sequential(
        nn.Conv2d(1, 8, 10),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 10),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(16 * rows * columns, 64),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(64, eps=1e-3, momentum=0.01),
        nn.ReLU(inplace=True),
        nn.Linear(64, 16),
        nn.ReLU(inplace=True),
        nn.Linear(16, 8),
        nn.ReLU(inplace=True),
        nn.Linear(8, 4),
    )


def main():
    parser = arguments(__doc__.split("\n", 1)[0])
    parser.add_argument("--layout", choices=("nchw", "channels_last"), default="nchw")
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_num_interop_threads(1)
    torch.manual_seed(21)
    rows, columns = image_shape(options)
    light_cones = LightCones(options.data, rows, columns)
    layout = torch.channels_last if options.layout == "channels_last" else torch.contiguous_format

    model = network(rows, columns).to(memory_format=layout)
    parameters = sum(p.numel() for p in model.parameters())
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.9, eps=1e-7, foreach=True)
    loss_of = nn.MSELoss()
    forward = torch.compile(model) if options.compile else model

    # With one channel both layouts are the same memory.
    x = torch.empty(options.batch, 1, rows, columns)
    x = x.as_strided(x.shape, (rows * columns, 1, columns, 1)) if layout == torch.channels_last else x
    targets = torch.empty(options.batch, 4)
    cells = np.lib.stride_tricks.as_strided(
        x.numpy(), (options.batch, rows, columns), (4 * rows * columns, 4 * columns, 4)
    )

    def read():
        light_cones.read(cells, targets.numpy())
        low, high = CLIP_MK
        x.clamp_(low, high).sub_(low).mul_(1.0 / (high - low))

    def training():
        read()
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(forward(x), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.inference_mode()
    def inference():
        read()
        return torch.cat([forward(part) for part in x.split(options.chunk or options.batch)])

    model.train(options.mode == "training")
    measure(
        options,
        training if options.mode == "training" else inference,
        peer=f"PyTorch {torch.__version__}",
        layout=options.layout,
        compiled=options.compile,
        trainable_parameters=parameters,
    )


if __name__ == "__main__":
    main()
