"""The laboratory: tasks, data, training that survives, and one script per claim.

It needs the extra `lab`: `pip install 'rowrnn[lab]'`.
"""
