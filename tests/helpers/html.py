"""What lies in a page that was written."""

import json
import re
from pathlib import Path


def embedded(page: Path) -> dict:
    """Returns the models and examples of a page."""
    (found,) = re.findall(r'<script type="application/json" id="embedded">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(found)
