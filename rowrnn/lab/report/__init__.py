"""Reports of a run: tables, Markdown pages and figures."""
