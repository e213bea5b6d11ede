"""Extrapolation along the optical flow: what moved goes on moving, and keeps its brightness."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates
from skimage.registration import optical_flow_tvl1

PAIRS = 3  # of frames, of which the flow is averaged


def extrapolated(frames: Float[np.ndarray, "t h w c"], ahead: int) -> Float[np.ndarray, "ahead h w c"]:
    """Predicts frames by moving the last one along the mean optical flow of the last four (Zach et al. 2007).

    Each pixel is traced back along the flow, step by step (semi-Lagrangian, as in Germann and Zawadzki 2002); what
    comes from outside is as at the edge.

    Args:
        frames: given frames, at least two.
        ahead: number of frames to predict.
    """
    grey = frames.mean(axis=-1)
    # Where a pixel of a frame lies in the next one.
    flow = np.mean([optical_flow_tvl1(before, after) for before, after in list(pairwise(grey))[-PAIRS:]], axis=0)
    place = np.stack(np.meshgrid(*map(np.arange, grey.shape[1:]), indexing="ij")).astype(np.float32)
    found = []
    for _ in range(ahead):
        back = np.stack([map_coordinates(part, place, order=1, mode="nearest") for part in flow])
        place = place - back
        channels = np.moveaxis(frames[-1], -1, 0)
        moved = [map_coordinates(channel, place, order=1, mode="nearest") for channel in channels]
        found.append(np.stack(moved, axis=-1))
    return np.stack(found).astype(frames.dtype)
