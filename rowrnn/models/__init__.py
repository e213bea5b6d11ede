"""Models: one a file."""

from rowrnn.models.beam import Marks, Sentences, beam_search, greedy
from rowrnn.models.captioner import Captioner
from rowrnn.models.classifier import Classifier
from rowrnn.models.cnn import CNN
from rowrnn.models.scan_classifier import ScanClassifier
from rowrnn.models.video import FrameAverage, FrameCNN, VideoClassifier
from rowrnn.models.width import parameters, solve_width

__all__ = [
    "CNN",
    "Captioner",
    "Classifier",
    "FrameAverage",
    "FrameCNN",
    "Marks",
    "ScanClassifier",
    "Sentences",
    "VideoClassifier",
    "beam_search",
    "greedy",
    "parameters",
    "solve_width",
]
