"""Models: one a file."""

from rowrnn.models.classifier import Classifier
from rowrnn.models.cnn import CNN
from rowrnn.models.scan_classifier import ScanClassifier
from rowrnn.models.video import FrameAverage, FrameCNN, VideoClassifier
from rowrnn.models.width import parameters, solve_width

__all__ = [
    "CNN",
    "Classifier",
    "FrameAverage",
    "FrameCNN",
    "ScanClassifier",
    "VideoClassifier",
    "parameters",
    "solve_width",
]
