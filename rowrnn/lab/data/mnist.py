"""The bundled MNIST: 60,000 training and 10,000 test images of digits, 28x28 grey.

Yann LeCun, Corinna Cortes and Christopher J. C. Burges; licence CC BY-SA 3.0.
"""

import hashlib
import io
from pathlib import Path

import numpy as np

from rowrnn.errors import InputError
from rowrnn.lab.data.dataset import Dataset
from rowrnn.saving.preprocessing import Preprocessing

FILE = Path(__file__).with_name("mnist.npz")
SIZE = (28, 28)
SHA256 = "39b9b1ffaa0ba4d8995a616551f0966941fe02a3fe79ba4a9db7373db16d53ad"


def load_bundled(file: Path = FILE) -> Dataset:
    """Loads the bundled MNIST after verifying the checksum of its file.

    Raises:
        InputError: if the file is missing or has another checksum.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"The bundled MNIST cannot be read ({error}). Reinstall rowrnn.") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise InputError(
            f"The bundled MNIST is damaged: {file} has SHA-256 {found}, expected {SHA256}. Reinstall rowrnn, or "
            "restore the file from version control."
        )
    with np.load(io.BytesIO(content)) as arrays:
        train = arrays["train_images"][..., None], arrays["train_labels"]
        test = arrays["test_images"][..., None], arrays["test_labels"]
    digits = tuple(str(digit) for digit in range(10))
    source, preprocessing = f"bundled {file.name}, SHA-256 {SHA256}", Preprocessing(SIZE, channels=1, like_mnist=True)
    return Dataset.from_arrays("mnist", train, test, digits, source, preprocessing=preprocessing)
