"""Tasks, one subpackage each: the generation of examples, loss and score, measures and figures."""
