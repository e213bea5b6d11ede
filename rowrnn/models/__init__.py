"""Models: classifiers of images and videos, a captioner, detectors, segmenters, a reader of lines, a language model,
and forecasters of videos and time series."""

from rowrnn.models.captioner import Captioner
from rowrnn.models.cnn import CNN
from rowrnn.models.crnn import CRNN
from rowrnn.models.dense_detector import DenseDetector
from rowrnn.models.forecaster import Forecaster
from rowrnn.models.frame_cnn import FrameCNN
from rowrnn.models.language_model import LanguageModel
from rowrnn.models.line_reader import LineReader
from rowrnn.models.row_classifier import Classifier
from rowrnn.models.scan_classifier import ScanClassifier
from rowrnn.models.segmenter import Segmenter, UNet
from rowrnn.models.sequential_detector import SequentialDetector
from rowrnn.models.series_forecaster import LinearForecaster, SeriesForecaster
from rowrnn.models.video_classifier import FrameAverage, VideoClassifier

__all__ = [
    "CNN",
    "CRNN",
    "Captioner",
    "Classifier",
    "DenseDetector",
    "Forecaster",
    "FrameAverage",
    "FrameCNN",
    "LanguageModel",
    "LineReader",
    "LinearForecaster",
    "ScanClassifier",
    "Segmenter",
    "SequentialDetector",
    "SeriesForecaster",
    "UNet",
    "VideoClassifier",
]
