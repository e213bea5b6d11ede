"""Data sets in the layouts that people have: a layout a file, and `open_listing`, which tells them apart."""
