"""Models that write images pixel by pixel, and the certificate that none of them peeks at what it is to predict.

The probability of an image is the product of those of its values, each given the values before it. `PixelRNN` has Row
LSTM or Diagonal BiLSTM layers, `GatedPixelCNN` convolutions, and `PixelScan` any layer over sequences, in any order of
pixels.
"""

from rowrnn.generation.certificate import Certificate, causality, first_peek
from rowrnn.generation.class_models import ClassModels
from rowrnn.generation.gated_pixel_cnn import GatedPixelCNN
from rowrnn.generation.pixel_model import PixelModel
from rowrnn.generation.pixel_rnn import PixelRNN
from rowrnn.generation.pixel_scan import PixelScan
from rowrnn.generation.sampling import sample

__all__ = [
    "Certificate",
    "ClassModels",
    "GatedPixelCNN",
    "PixelModel",
    "PixelRNN",
    "PixelScan",
    "causality",
    "first_peek",
    "sample",
]
