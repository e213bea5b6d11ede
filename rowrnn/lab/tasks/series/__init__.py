"""Time series: what comes next."""
