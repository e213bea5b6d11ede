"""An experiment: its options, its command line, and the training of one model after the other."""
