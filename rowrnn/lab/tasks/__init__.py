"""What is learnt, a folder a task: its examples, its loss and score, its measures, its pictures."""
