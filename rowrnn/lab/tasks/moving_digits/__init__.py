"""Moving digits: the next frames of two digits that bounce."""
