"""What came of a run, as tables, pages and pictures."""
