"""The devices that a training runs on, in one process or in several."""
